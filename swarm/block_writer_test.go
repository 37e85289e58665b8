package swarm

import (
	"testing"
	"time"

	"torrentfs/internal/simnet"
)

// A peer gets runs as long as its connection is fast, and single blocks where
// it is not: then a message waits for one block at most.
func TestRunsFollowTheConnection(t *testing.T) {
	for name, link := range map[string]simnet.Link{
		"fast": {Delay: ms, Up: 10_000 * mbit},
		"slow": {Delay: 10 * ms, Up: mbit, Down: mbit},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, 4<<20, 256<<10, Config{}, func(w *world) {
				w.store = fullStore(w.info, w.data)
				w.add(TorrentConfig{})
				l := w.connect(link, w.leecher("leecher"))
				select {
				case <-l.Complete():
				case <-time.After(10 * time.Minute):
					t.Errorf("the leecher has %d bytes of %d", l.Record().Downloaded, w.info.Size())
				}
				if bad := l.Record().Errors; len(bad) > 0 {
					t.Error(bad)
				}
			})
		})
	}
}
