//go:build linux

package interop

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"torrentfs/integration/harness"
)

// What it costs a reader that the mount seeds beside it: the first read of
// everything from the swarm, and reads of what is in memory, with and without
// leechers that take what their line, our line, or nothing but this machine
// limits. Leechers get what is left of the processor, so that their own work
// does not count as ours; what they take from a reader all the same shows where
// another program feeds them. The cost is the median of runs right after one another.
func TestSeedingFigures(t *testing.T) {
	needBench(t)
	harness.NeedPrivateNetwork(t)
	const rounds = 5
	b := beside{T: t, c: harness.MakeFile(t, 160<<20, 52).Create(t, "--piece-length", "1048576", "--private")} // so that leechers do not hear of the seeds
	for range 2 {                                                                                              // 40 MB/s, which is the reader's line
		data := harness.Scratch(t)
		harness.Tool("cp", b.c.Root(), data).Run(t)
		b.seeds = append(b.seeds, harness.Seed(t, b.c.Torrent, data, "--no-trackers", "--max-upload-rate", "20M/s"))
	}
	b.copy = harness.Scratch(t)
	harness.Tool("cp", b.c.Root(), b.copy).Run(t)
	for _, w := range []struct {
		name     string
		mount    []string // flags of the mount that seeds
		leechers []string // flags of each of two leechers
	}{
		{"two leechers of 8 MBps each", nil, []string{"--max-download-rate", "8M/s"}},
		{"upload limit of 10 MBps, two greedy leechers", []string{"--max-upload-rate", "10M/s"}, nil},
		{"two greedy leechers on this machine", nil, nil},
	} {
		for _, r := range []struct {
			name string
			read func(mount, leechers []string, fed by) float64
		}{{"first read", b.cold}, {"from memory", b.hot}} {
			t.Run(w.name+", "+r.name, func(t *testing.T) {
				var costs, elsewhere []float64
				for range rounds {
					alone := r.read(w.mount, w.leechers, nobody)
					costs = append(costs, 100*(r.read(w.mount, w.leechers, theMount)/alone-1))
					elsewhere = append(elsewhere, 100*(r.read(w.mount, w.leechers, another)/alone-1))
				}
				t.Logf("seeding costs the reader %s; where another program feeds the leechers they cost it %s", spread(costs), spread(elsewhere))
			})
		}
	}
}

// spread is the median of percentages, and their range.
func spread(percent []float64) string {
	slices.Sort(percent)
	return fmt.Sprintf("%.1f %% (%.1f to %.1f)", percent[len(percent)/2], percent[0], percent[len(percent)-1])
}

// by is who feeds the leechers beside a reader.
type by int

const (
	nobody by = iota // there are none
	theMount
	another // program
)

// beside is the readers of TestSeedingFigures.
type beside struct {
	*testing.T
	c     harness.Content
	seeds []*harness.Server // of the mount
	copy  string            // directory of what another program seeds in place of the mount
}

// cold reads everything through a new mount.
func (b beside) cold(flags, leech []string, fed by) float64 {
	m := harness.MountOn(b, b.c, harness.Scratch(b), b.seeds, flags...)
	defer m.Stop()
	_, stop := b.feed(fed, m.Server, flags, leech)
	defer stop()
	return dd(b, m.Path(b.c.Name), "")
}

// hot reads what is in memory, past the page cache.
func (b beside) hot(flags, leech []string, fed by) (took float64) {
	m := harness.MountOn(b, b.c, harness.Scratch(b), b.seeds, append([]string{"--memory-cache", "256MiB", "--no-passthrough"}, flags...)...)
	defer m.Stop()
	m.Complete()
	from, stop := b.feed(fed, m.Server, flags, leech)
	defer stop()
	if from != nil {
		from.Logged("status", func(r harness.Record) bool { return r.Number("up_rate") > 1<<20 })
	}
	for range 20 {
		took += dd(b, m.Path(b.c.Name), ",direct")
	}
	return took
}

// dd reads a file and says how long that took by dd's own clock, in seconds.
func dd(t testing.TB, name, flags string) float64 {
	t.Helper()
	p := harness.Tool("dd", "if="+name, "of=/dev/null", "bs=1M", "iflag=fullblock"+flags).Start(t).Succeed()
	said := p.Stderr.Text() // "… bytes (…) copied, 0.123 s, …"
	fields := strings.Split(said, ", ")
	if len(fields) < 2 {
		t.Fatalf("dd: %s", said)
	}
	seconds, err := strconv.ParseFloat(strings.TrimSuffix(fields[len(fields)-2], " s"), 64)
	if err != nil {
		t.Fatalf("dd: %s: %v", said, err)
	}
	return seconds
}

// feed starts two leechers of the mount, or of another program with the mount's
// flags, until stop is called, and returns from whom they get what they get.
func (b beside) feed(fed by, mount *harness.Server, flags, leech []string) (from *harness.Server, stop func()) {
	switch fed {
	case theMount:
		return mount, b.leech(mount, leech)
	case another:
		from = harness.Seed(b, b.c.Torrent, b.copy, append([]string{"--no-trackers"}, flags...)...)
		hangUp := b.leech(from, leech)
		return from, func() { hangUp(); from.Stop() }
	}
	return nil, func() {}
}

// leech starts two leechers that know the mount alone, each again and again
// until the returned function is called.
func (b beside) leech(from *harness.Server, flags []string) (stop func()) {
	var leechers []*harness.Process
	for range 2 {
		data := harness.Scratch(b)
		loop := fmt.Sprintf(`while :; do rm -rf '%s'/*; "$@"; done`, data)
		args := slices.Concat([]string{"-c", loop, "sh", harness.Env.Binary, "download", b.c.Torrent, "--data-dir", data, "--no-trackers", "--peer", from.Peer()}, flags)
		leechers = append(leechers, harness.Command{Name: "nice", Args: append([]string{"-n", "19", "sh"}, args...), Env: harness.HomeIn(data)}.Start(b))
	}
	return func() {
		for _, p := range leechers {
			_ = syscall.Kill(-p.Cmd.Process.Pid, syscall.SIGKILL) // the loop and what it runs
			p.Wait()
		}
	}
}
