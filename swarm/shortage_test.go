package swarm

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"torrentfs/internal/simnet"
)

// shortSource counts what it is told.
type shortSource struct{ incomplete, need atomic.Int32 }

func (s *shortSource) Run(ctx context.Context, _ PeerSink) error { <-ctx.Done(); return nil }
func (s *shortSource) NeedPeers()                                { s.need.Add(1) }
func (s *shortSource) Incomplete()                               { s.incomplete.Add(1) }

// When a piece of a complete torrent turns out wrong the sources hear of it within seconds,
// once; connected peers hear that we upload no more only, and a seed that comes is asked.
func TestLostCompletenessIsTold(t *testing.T) {
	inWorld(t, 2<<20, 64<<10, Config{}, func(w *world) {
		w.store = fullStore(w.info, w.data)
		src := &shortSource{}
		tor := w.add(TorrentConfig{Sources: []PeerSource{src}})
		idle := w.options("idle")
		idle.Have = func(int) bool { return false }
		l := w.connect(simnet.Link{Delay: 10 * ms}, idle)
		time.Sleep(2 * time.Second)
		said := len(l.Record().ExtHandshakes)
		if n := src.incomplete.Load(); n != 0 {
			t.Fatalf("told %d times that a complete torrent lacks something", n)
		}
		w.store.mu.Lock()
		w.store.rotten = map[int]bool{5: true, 6: true}
		w.store.mu.Unlock()
		r := tor.NewReader(nil)
		defer r.Close()
		done := make(chan error, 1)
		go func() {
			_, err := r.ReadAt(context.Background(), make([]byte, 2*64<<10), 5*64<<10)
			done <- err
		}()
		time.Sleep(5 * time.Second)
		if n := src.incomplete.Load(); n != 1 {
			t.Errorf("the sources were told %d times that pieces lack", n)
		}
		if h := l.Record().ExtHandshakes; said == 0 || !h[said-1].UploadOnly || len(h) != said+1 || h[said].UploadOnly {
			t.Errorf("the idle peer heard %+v after %d extension handshakes", h, said)
		}
		w.serve(wan(10, 20*ms), w.options("seed"))
		tor.Found(Introducer{Kind: ByTracker}, w.peers)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
