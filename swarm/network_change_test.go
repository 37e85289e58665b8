package swarm

import (
	"net/netip"
	"testing"
	"time"

	"torrentfs/internal/simnet"
)

// Connections from an address that is gone end, and what did not answer in the
// network of before is dialled at once.
func TestNetworkChange(t *testing.T) {
	inWorld(t, 64<<10, 16<<10, Config{}, func(w *world) {
		w.serve(simnet.Link{Delay: ms}, w.options("seed"))
		late := netip.MustParseAddrPort("10.0.9.9:6881") // there is no such host yet
		w.peers = append(w.peers, late)
		tor := w.add(TorrentConfig{})
		time.Sleep(time.Hour)
		if n := tor.Stats().Peers; n != 1 {
			t.Fatalf("%d peers", n)
		}
		before := tor.peers[0]
		w.session.NetworkChanged(func(a netip.Addr) bool { return a == netip.MustParseAddr("10.0.0.1") })
		time.Sleep(time.Second)
		if tor.peers[0] != before {
			t.Error("a connection from an address that is still there was closed")
		}
		var due, now time.Duration
		tor.call(func() { due, _ = tor.pool.Due(late); now = tor.now() })
		if due > now+4*time.Second {
			t.Errorf("what failed before is due in %v", due-now)
		}
		w.session.NetworkChanged(func(netip.Addr) bool { return false })
		time.Sleep(10 * time.Second)
		if tor.Stats().Peers != 1 || tor.peers[0] == before {
			t.Errorf("the connection from an address that is gone is kept, or there is no other: %+v", tor.Peers())
		}
	})
}
