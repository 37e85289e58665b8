package swarm

import (
	"testing"
	"time"

	"torrentfs/internal/fakepeer"
	"torrentfs/internal/simnet"
)

// A seed gives leechers of unequal links equal shares: in thirty minutes none
// is more than a tenth from the mean, as long as its link can take that much.
func TestSeedSharesEqually(t *testing.T) {
	const limit, minutes, leechers = 16 << 10, 30, 10
	inWorld(t, 8<<20, 256<<10, Config{MaxUpload: limit}, func(w *world) {
		w.store = fullStore(w.info, w.data)
		tor := w.add(TorrentConfig{Slots: 4})
		var all []*fakepeer.Peer
		for i := range leechers {
			opt := w.leecher("leecher")
			opt.Depth = 4 << (i % 4)
			link := simnet.Link{Down: int64(1+i%3*7) * mbit, Delay: time.Duration(5+i*20) * ms}
			all = append(all, w.connect(link, opt))
		}
		time.Sleep(minutes * time.Minute)
		mean := float64(tor.Stats().Uploaded) / leechers
		for i, p := range all {
			if got := float64(p.Record().Downloaded); got < 0.9*mean || got > 1.1*mean {
				t.Errorf("leecher %d got %.2f of the mean", i, got/mean)
			}
		}
		if up := float64(tor.Stats().Uploaded) / (minutes * 60); up > 1.05*limit || up < 0.95*limit {
			t.Errorf("uploaded at %.0f bytes/s, the limit is %d", up, limit)
		}
	})
}
