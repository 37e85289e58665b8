//go:build linux

package integration

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
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
	needPrivateNetwork(t)
	c := makeFile(t, 512<<20, 51).create(t, "--piece-length", "1048576")
	for _, w := range []way{
		{name: "TCP, plain", flags: []string{"--encryption", "disable", "--disable-utp"}},
		{name: "TCP, RC4", flags: []string{"--encryption", "require", "--disable-utp"}, theirs: []string{"--encrypted"}},
		{name: "uTP, plain", flags: []string{"--encryption", "disable"}, theirs: []string{"--utp"}, utp: true},
		{name: "uTP, RC4", flags: []string{"--encryption", "require"}, theirs: []string{"--utp", "--encrypted"}, utp: true},
	} {
		t.Run(w.name, func(t *testing.T) {
			hosts := segment(t, "10.78.0.%d/24", 2)
			near, there := hosts[0], hosts[1].on
			if w.utp {
				there(tool("iptables", "-A", "OUTPUT", "-p", "tcp", "-j", "REJECT", "--reject-with", "tcp-reset")).run(t)
			}
			ours := near.seed(c, 7001, slices.Concat([]string{"--no-trackers"}, w.flags)...)
			theirs := libtorrentAt(t, near.on, c, c.dir, w.theirs...)
			theirs.complete()
			w.fetch(t, "torrentfs to torrentfs", c, there, ours.process, "10.78.0.1:7001")
			w.fetch(t, "libtorrent to torrentfs", c, there, theirs.process, "10.78.0.1:6881")
			w.fetchByLibtorrent(t, "libtorrent to libtorrent", c, there, theirs.process, "10.78.0.1:6881")
		})
	}
}

// fetch downloads everything with our program on the other host.
func (w way) fetch(t *testing.T, what string, c content, there func(command) command, seeder *process, peer string) {
	data := scratch(t)
	d := torrentfs(t, slices.Concat([]string{"download", c.torrent, "-d", data, "--no-trackers", "--peer", peer}, w.flags)...)
	before, begun := cpuTime(t, seeder), time.Now()
	p := there(d).start(t).succeed()
	took := time.Since(begun)
	own := p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
	logTransfer(t, what, c.info(t).Size(), took, cpuTime(t, seeder)-before, own)
	sameBytes(t, c, data)
}

// fetchByLibtorrent does the same with libtorrent, whose uTP would take minutes for all of it.
func (w way) fetchByLibtorrent(t *testing.T, what string, c content, there func(command) command, seeder *process, peer string) {
	const part = 64 << 20
	before, begun := cpuTime(t, seeder), time.Now()
	l := libtorrentAt(t, there, c, scratch(t), slices.Concat([]string{"--peer", peer}, w.theirs)...)
	done := l.status("done with a part", func(r record) bool { return r.number("done") >= part }).number("done")
	logTransfer(t, what, done, time.Since(begun), cpuTime(t, seeder)-before, cpuTime(t, l.process))
}

func libtorrentAt(t *testing.T, host func(command) command, c content, data string, flags ...string) *libtorrent {
	t.Helper()
	return &libtorrent{process: host(command{name: needPython(t), args: slices.Concat([]string{
		"testdata/libtorrent_client.py", c.torrent, data, "--listen", "0.0.0.0:6881",
	}, flags), openStdin: true}).start(t)}
}

func logTransfer(t *testing.T, what string, size int64, took, seeder, leecher time.Duration) {
	t.Helper()
	gb := float64(size) / 1e9
	t.Logf("%-26s %6.0f MB/s; CPU s/GB: seeder %.2f, leecher %.2f",
		what, gb*1000/took.Seconds(), seeder.Seconds()/gb, leecher.Seconds()/gb)
}

// cpuTime is what a running process has used of the processors.
func cpuTime(t testing.TB, p *process) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
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
