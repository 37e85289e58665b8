package library

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"torrentfs/metainfo"
)

// idleVariable is with how many torrents TestIdleTorrentsCostLittle measures.
const idleVariable = "TORRENTFS_IDLE_TORRENTS"

// idleInfo is a torrent of 1,000 pieces that nobody has.
func idleInfo(t testing.TB, n int) *metainfo.MetaInfo {
	t.Helper()
	name := fmt.Sprintf("idle%d", n)
	const pieces = 1000
	raw := fmt.Sprintf("d4:infod6:lengthi%de4:name%d:%s12:piece lengthi262144e6:pieces%d:%see",
		pieces*262144, len(name), name, pieces*20, strings.Repeat(strconv.Itoa(n%10), pieces*20))
	mi, err := metainfo.Parse([]byte(raw), metainfo.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return mi
}

// Idle torrents cost memory by the piece and no processor time: a thousand of
// 1,000 pieces fit in 150 MB.
func TestIdleTorrentsCostLittle(t *testing.T) {
	n := 100
	if s := os.Getenv(idleVariable); s != "" {
		n, _ = strconv.Atoi(s)
	}
	l, err := Open(Config{DataDir: t.TempDir(), ListenAddr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close(context.Background())
	used := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	if _, err := l.Add(t.Context(), idleInfo(t, 1_000_000), AddOptions{NoTrackers: true}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond)
	before, goroutines := used(), runtime.NumGoroutine()
	for i := range n {
		if _, err := l.Add(t.Context(), idleInfo(t, i), AddOptions{NoTrackers: true}); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(time.Second)
	each := int64(used()-before) / int64(n)
	var a, b syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &a)
	wait := time.Second
	if os.Getenv(idleVariable) != "" {
		wait = 20 * time.Second
	}
	time.Sleep(wait)
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &b)
	cpu := time.Duration(b.Utime.Nano() + b.Stime.Nano() - a.Utime.Nano() - a.Stime.Nano())
	t.Logf("%d torrents: %d bytes and %.1f goroutines each, %.2f %% of a core in all",
		n, each, float64(runtime.NumGoroutine()-goroutines)/float64(n), 100*cpu.Seconds()/wait.Seconds())
	if each > 150_000 {
		t.Errorf("%d bytes for each idle torrent, want at most 150,000", each)
	}
}
