package library

import (
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"torrentfs/metainfo"
)

// idleVariable is with how many torrents, or links, the tests below measure.
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

// idleCost is what so many idle things take together.
type idleCost struct {
	bytes      int64 // heap and stacks
	goroutines int
	cpu        float64 // cores
}

// measureIdle adds n things and measures what they cost while nothing happens.
func measureIdle(t *testing.T, n int, add func(i int)) idleCost {
	t.Helper()
	used := func() int64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapInuse + m.StackInuse)
	}
	cpu := func() time.Duration {
		var u syscall.Rusage
		_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	time.Sleep(100 * time.Millisecond)
	before, goroutines := used(), runtime.NumGoroutine()
	for i := range n {
		add(i)
	}
	time.Sleep(time.Second)
	cost := idleCost{bytes: used() - before, goroutines: runtime.NumGoroutine() - goroutines}
	wait := time.Second
	if os.Getenv(idleVariable) != "" {
		wait = 20 * time.Second
	}
	busy := cpu()
	time.Sleep(wait)
	cost.cpu = (cpu() - busy).Seconds() / wait.Seconds()
	t.Logf("%d of them: %d bytes and %.1f goroutines each, %.2f %% of a core in all",
		n, cost.bytes/int64(n), float64(cost.goroutines)/float64(n), 100*cost.cpu)
	return cost
}

// idleCount is how many torrents or links are measured.
func idleCount() int {
	if n, err := strconv.Atoi(os.Getenv(idleVariable)); err == nil {
		return n
	}
	return 100
}

// Idle torrents cost memory by the piece and no processor time: a thousand of
// 1,000 pieces fit in 150 MB.
func TestIdleTorrentsCostLittle(t *testing.T) {
	n := idleCount()
	l, err := Open(Config{DataDir: t.TempDir(), ListenAddr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close(context.Background())
	add := func(i int) {
		if _, err := l.Add(t.Context(), idleInfo(t, i), AddOptions{NoTrackers: true}); err != nil {
			t.Fatal(err)
		}
	}
	add(1_000_000) // what the first one alone costs
	if each := measureIdle(t, n, add).bytes / int64(n); each > 150_000 {
		t.Errorf("%d bytes for each idle torrent, want at most 150,000", each)
	}
}

// Links whose metadata nobody has cost less than torrents, also while the DHT
// and a tracker are asked for them, none of which answers.
func TestIdleLinksCostLittle(t *testing.T) {
	n := idleCount()
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	l, err := Open(Config{
		DataDir: t.TempDir(), ListenAddr: "127.0.0.1:0",
		Discovery: Discovery{DHT: true, DHTBootstrap: []string{silent.LocalAddr().String()}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close(context.Background())
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	add := func(i int) {
		m := &metainfo.Magnet{
			Hash:     metainfo.InfoHash{HasV1: true, V1: sha1.Sum(strconv.AppendInt(nil, int64(i), 10))},
			Trackers: []string{"udp://" + silent.LocalAddr().String() + "/announce"},
		}
		wg.Go(func() {
			if _, err := l.Resolve(ctx, m, ResolveOptions{}); !errors.Is(err, context.Canceled) {
				t.Errorf("a link that nobody has: %v", err)
			}
		})
	}
	add(1_000_000)
	if each := measureIdle(t, n, add).bytes / int64(n); each > 100_000 {
		t.Errorf("%d bytes for each link, want at most 100,000", each)
	}
}
