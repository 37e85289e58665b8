package swarm

import (
	"fmt"
	"testing"
	"time"

	"torrentfs/metainfo"
)

// A hint has its range fetched, and no other, while nobody reads; closing the reader ends that.
func TestWillNeedFetchesItsRange(t *testing.T) {
	inWorld(t, 1<<20, 64<<10, Config{}, func(w *world) {
		w.serve(wan(100, 20*ms), w.options("seed"))
		tor := w.add(TorrentConfig{})
		r := tor.NewReader(nil)
		r.WillNeed(15*64<<10+5, 10)
		r.WillNeed(3*64<<10-1, 2)
		time.Sleep(3 * time.Second)
		held := tor.Held()[0]
		if want := uint64(1<<15 | 1<<2 | 1<<3); held != want {
			t.Errorf("pieces %b, want %b", held, want)
		}
		if took := w.read(r, 15*64<<10, 64<<10, time.Minute); took > 0 {
			t.Errorf("read of what was hinted at took %v", took)
		}
		r.Close()
		r.WillNeed(8*64<<10, 1) // whoever calls that has a bug, which must cost nothing but a piece
		tor.Stats()
	})
}

// Where a reader waits, a hint comes second.
func TestWillNeedComesBehindReads(t *testing.T) {
	inWorld(t, 8<<20, 256<<10, Config{}, func(w *world) {
		w.serve(wan(20, 40*ms), w.options("seed"))
		tor := w.add(TorrentConfig{})
		hinted, reader := tor.NewReader(nil), tor.NewReader(nil)
		defer hinted.Close()
		defer reader.Close()
		w.read(reader, 0, 1, time.Minute) // connect
		hinted.WillNeed(4<<20, 4<<20)
		time.Sleep(50 * ms)
		// A piece takes 105 ms, after a round trip; four megabytes would take 1.7 s.
		if took := w.read(reader, 2<<20, 1, time.Minute); took > 400*ms {
			t.Errorf("read took %v beside a hint", took)
		}
	})
}

// A range that a kernel reads page by page costs what one read of it does, where blocks verify one by one; also beside the
// background download, which fills the peers' queues.
func TestExpectedRangeComesAtOnce(t *testing.T) {
	for _, c := range []struct {
		v        metainfo.Version
		prefetch bool
		most     time.Duration
	}{
		{metainfo.V2, false, 130 * ms},
		{metainfo.Hybrid, false, 130 * ms},
		{metainfo.V2, true, 200 * ms},
		{metainfo.Hybrid, true, 200 * ms},
	} {
		t.Run(fmt.Sprintf("%v/prefetch=%v", c.v, c.prefetch), func(t *testing.T) {
			inV2World(t, c.v, 4<<20, []int64{64 << 20}, Config{}, func(w *world) {
				for range 5 {
					w.serve(wan(20, 40*ms), w.options("seed"))
				}
				tor := w.add(TorrentConfig{Prefetch: c.prefetch})
				time.Sleep(time.Second)
				r := tor.NewReader(nil)
				defer r.Close()
				for i := range 6 {
					off := int64(i)*9_000_000&^4095 + 8192
					r.PrefetchUrgent(off, 64<<10)
					took := time.Duration(0)
					for page := off; page < off+64<<10; page += 4096 {
						took += w.read(r, page, 4096, time.Minute)
					}
					if took > c.most {
						t.Errorf("range %d took %v, a round trip and five blocks from five peers need 50 ms", i, took)
					}
				}
				if got := tor.Stats().Downloaded; !c.prefetch && got > 6*2*64<<10 {
					t.Errorf("%d bytes came", got)
				}
			})
		})
	}
}

// Nobody waits for what is only expected: it is not told of as blocked, a later
// expectation of the reader replaces it, and it ends with the reader.
func TestExpectedRangeEndsWithItsReader(t *testing.T) {
	inV2World(t, metainfo.V2, 1<<20, []int64{8 << 20}, Config{}, func(w *world) {
		tor := w.add(TorrentConfig{})
		r := tor.NewReader(nil)
		waiting := func() (n int) {
			tor.call(func() { tor.reads.takeHints(); n = len(tor.reads.waiting) })
			return n
		}
		for i := range 3 * hintsPerReader {
			r.PrefetchUrgent(int64(i)<<19, 64<<10)
			tor.Stats()
		}
		r.PrefetchUrgent(8<<20, 5)
		r.PrefetchUrgent(1, -1)
		r.PrefetchUrgent(-1, 1)
		if n := waiting(); n != hintsPerReader-2 || len(tor.Stats().Blocked) != 0 {
			t.Errorf("%d wait, blocked %v", n, tor.Stats().Blocked)
		}
		r.Close()
		if n := waiting(); n != 0 {
			t.Errorf("%d wait after the reader was closed", n)
		}
	})
}
