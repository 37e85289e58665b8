package swarm

import (
	"testing"
	"time"
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
