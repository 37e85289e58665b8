package swarm

import (
	"testing"
	"time"
)

// A torrent that nobody asks for has no timer, whether it is complete or has
// nobody to ask; what happens to it wakes it up.
func TestIdleTorrentHasNoTimer(t *testing.T) {
	inWorld(t, 1<<20, 64<<10, Config{}, func(w *world) {
		w.store = fullStore(w.info, w.data)
		tor := w.add(TorrentConfig{})
		due := func() (at time.Duration) {
			tor.call(func() { at = min(tor.houseDue, tor.pool.NextDeadline()) - tor.now() })
			return at
		}
		time.Sleep(time.Minute)
		if at := due(); at < 100*time.Hour {
			t.Errorf("a complete torrent without peers wakes up in %v", at)
		}
		p := w.connect(wan(10, 20*ms), w.leecher("leecher"))
		select {
		case <-p.Complete():
		case <-time.After(time.Minute):
			t.Fatal("the leecher got nothing")
		}
		if at := due(); at > houseInterval {
			t.Errorf("with a peer it wakes up in %v", at)
		}
		p.Close()
		time.Sleep(2 * time.Minute) // rates fade
		if at := due(); at < 100*time.Hour {
			t.Errorf("after the last peer left it wakes up in %v", at)
		}
	})
}
