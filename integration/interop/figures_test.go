//go:build linux

package interop

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"torrentfs/integration/harness"
)

// benchVariable makes the tests that print figures run. They want a program without the race detector:
//
//	make figures
const benchVariable = "TORRENTFS_BENCH"

func needBench(t testing.TB) {
	t.Helper()
	if os.Getenv(benchVariable) != "1" {
		t.Skipf("prints figures where %s=1", benchVariable)
	}
}

// way is how the bytes of TestTransportFigures travel.
type way struct {
	name   string
	flags  []string // of our program, on both sides
	theirs []string // of libtorrent's
	utp    bool     // TCP is refused on the way
}

// Plain TCP, RC4 and uTP side by side, over a cable with nothing else on it: between two of us, from libtorrent to us,
// and between two of libtorrent. Each byte is compared.
func TestTransportFigures(t *testing.T) {
	needBench(t)
	harness.NeedPrivateNetwork(t)
	c := harness.MakeFile(t, 512<<20, 51).Create(t, "--piece-length", "1048576")
	for _, w := range []way{
		{name: "TCP, plain", flags: []string{"--encryption", "disable", "--disable-utp"}},
		{name: "TCP, RC4", flags: []string{"--encryption", "require", "--disable-utp"}, theirs: []string{"--encrypted"}},
		{name: "uTP, plain", flags: []string{"--encryption", "disable"}, theirs: []string{"--utp"}, utp: true},
		{name: "uTP, RC4", flags: []string{"--encryption", "require"}, theirs: []string{"--utp", "--encrypted"}, utp: true},
	} {
		t.Run(w.name, func(t *testing.T) {
			hosts := harness.Segment(t, "10.78.0.%d/24", 2)
			near, there := hosts[0], hosts[1].On
			if w.utp {
				there(harness.Tool("iptables", "-A", "OUTPUT", "-p", "tcp", "-j", "REJECT", "--reject-with", "tcp-reset")).Run(t)
			}
			ours := near.Seed(c, 7001, slices.Concat([]string{"--no-trackers"}, w.flags)...)
			theirs := libtorrentAt(t, near.On, c, c.Dir, w.theirs...)
			theirs.Complete()
			w.fetch(t, "torrentfs to torrentfs", c, there, ours.Process, "10.78.0.1:7001")
			w.fetch(t, "libtorrent to torrentfs", c, there, theirs.Process, "10.78.0.1:6881")
			w.fetchByLibtorrent(t, "libtorrent to libtorrent", c, there, theirs.Process, "10.78.0.1:6881")
		})
	}
}

// fetch downloads everything with our program on the other host.
func (w way) fetch(t *testing.T, what string, c harness.Content, there func(harness.Command) harness.Command, seeder *harness.Process, peer string) {
	data := harness.Scratch(t)
	d := harness.Torrentfs(t, slices.Concat([]string{"download", c.Torrent, "-d", data, "--no-trackers", "--peer", peer}, w.flags)...)
	before, begun := cpuTime(t, seeder), time.Now()
	p := there(d).Start(t).Succeed()
	took := time.Since(begun)
	own := p.Cmd.ProcessState.UserTime() + p.Cmd.ProcessState.SystemTime()
	logTransfer(t, what, c.Info(t).Size(), took, cpuTime(t, seeder)-before, own)
	harness.SameBytes(t, c, data)
}

// fetchByLibtorrent does the same with libtorrent, whose uTP would take minutes for all of it.
func (w way) fetchByLibtorrent(t *testing.T, what string, c harness.Content, there func(harness.Command) harness.Command, seeder *harness.Process, peer string) {
	const part = 64 << 20
	before, begun := cpuTime(t, seeder), time.Now()
	l := libtorrentAt(t, there, c, harness.Scratch(t), slices.Concat([]string{"--peer", peer}, w.theirs)...)
	done := l.Status("done with a part", func(r harness.Record) bool { return r.Number("done") >= part }).Number("done")
	logTransfer(t, what, done, time.Since(begun), cpuTime(t, seeder)-before, cpuTime(t, l.Process))
}

func libtorrentAt(t *testing.T, host func(harness.Command) harness.Command, c harness.Content, data string, flags ...string) *harness.Libtorrent {
	t.Helper()
	return &harness.Libtorrent{Process: host(harness.Command{Name: harness.NeedPython(t), Args: slices.Concat([]string{
		harness.TestData("libtorrent_client.py"), c.Torrent, data, "--listen", "0.0.0.0:6881",
	}, flags), OpenStdin: true}).Start(t)}
}

func logTransfer(t *testing.T, what string, size int64, took, seeder, leecher time.Duration) {
	t.Helper()
	gb := float64(size) / 1e9
	t.Logf("%-26s %6.0f MB/s; CPU s/GB: seeder %.2f, leecher %.2f",
		what, gb*1000/took.Seconds(), seeder.Seconds()/gb, leecher.Seconds()/gb)
}

// cpuTime is what a running process has used of the processors.
func cpuTime(t testing.TB, p *harness.Process) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // fields from the third on
	fields := strings.Fields(rest)
	var ticks int64
	for _, f := range fields[11:13] { // utime and stime
		n, _ := strconv.ParseInt(f, 10, 64)
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond // USER_HZ is 100 everywhere
}
