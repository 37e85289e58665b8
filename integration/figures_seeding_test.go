//go:build linux

package integration

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What it costs a reader that the mount seeds beside it: the first read of
// everything from the swarm, and reads of what is in memory, with and without
// leechers that take what their line, our line, or nothing but this machine
// limits. Leechers get what is left of the processor, so that their own work
// does not count as ours. The cost is the median of pairs of runs, one right
// after the other.
func TestSeedingFigures(t *testing.T) {
	needBench(t)
	needPrivateNetwork(t)
	const pairs = 5
	b := beside{T: t, c: makeFile(t, 160<<20, 52).create(t, "--piece-length", "1048576", "--private")} // so that leechers do not hear of the seeds
	for range 2 {                                                                                      // 40 MB/s, which is the reader's line
		data := scratch(t)
		tool("cp", b.c.root(), data).run(t)
		b.seeds = append(b.seeds, seed(t, b.c.torrent, data, "--no-trackers", "--max-upload-rate", "20M/s"))
	}
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
			read func(mount, leechers []string, seeding bool) time.Duration
		}{{"first read", b.cold}, {"from memory", b.hot}} {
			t.Run(w.name+", "+r.name, func(t *testing.T) {
				var costs []float64
				var alone, with time.Duration
				for range pairs {
					alone = r.read(w.mount, w.leechers, false)
					with = r.read(w.mount, w.leechers, true)
					costs = append(costs, 100*(with.Seconds()/alone.Seconds()-1))
				}
				slices.Sort(costs)
				t.Logf("costs the reader %.1f %% (%.1f to %.1f; last pair %v and %v)",
					costs[pairs/2], costs[0], costs[pairs-1], alone.Round(time.Millisecond), with.Round(time.Millisecond))
			})
		}
	}
}

// beside is the readers of TestSeedingFigures.
type beside struct {
	*testing.T
	c     content
	seeds []*server
}

// cold reads everything through a new mount.
func (b beside) cold(flags, leech []string, seeding bool) time.Duration {
	m := mountOn(b, b.c, scratch(b), b.seeds, flags...)
	defer m.stop()
	if seeding {
		defer b.leech(m, leech)()
	}
	return dd(b, m.path(b.c.name), "")
}

// hot reads what is in memory, past the page cache.
func (b beside) hot(flags, leech []string, seeding bool) time.Duration {
	m := mountOn(b, b.c, scratch(b), b.seeds, append([]string{"--memory-cache", "256MiB", "--no-passthrough"}, flags...)...)
	defer m.stop()
	m.complete()
	if seeding {
		defer b.leech(m, leech)()
		m.logged("status", func(r record) bool { return r.number("up_rate") > 1<<20 })
	}
	took := time.Duration(0)
	for range 20 {
		took += dd(b, m.path(b.c.name), ",direct")
	}
	return took
}

// dd reads a file and says how long that took by dd's own clock.
func dd(t testing.TB, name, flags string) time.Duration {
	t.Helper()
	p := tool("dd", "if="+name, "of=/dev/null", "bs=1M", "iflag=fullblock"+flags).start(t).succeed()
	said := p.stderr.text() // "… bytes (…) copied, 0.123 s, …"
	fields := strings.Split(said, ", ")
	if len(fields) < 2 {
		t.Fatalf("dd: %s", said)
	}
	seconds, err := strconv.ParseFloat(strings.TrimSuffix(fields[len(fields)-2], " s"), 64)
	if err != nil {
		t.Fatalf("dd: %s: %v", said, err)
	}
	return time.Duration(seconds * float64(time.Second))
}

// leech starts two leechers that know the mount alone, each again and again
// until the returned function is called.
func (b beside) leech(m *mount, flags []string) (stop func()) {
	var leechers []*process
	for range 2 {
		data := scratch(b)
		loop := fmt.Sprintf(`while :; do rm -rf '%s'/*; "$@"; done`, data)
		args := slices.Concat([]string{"-c", loop, "sh", env.binary, "download", b.c.torrent, "--data-dir", data, "--no-trackers", "--peer", m.peer()}, flags)
		leechers = append(leechers, command{name: "nice", args: append([]string{"-n", "19", "sh"}, args...), env: homeIn(data)}.start(b))
	}
	return func() {
		for _, p := range leechers {
			_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // the loop and what it runs
			p.wait()
		}
	}
}
