package swarm

import (
	"errors"
	"net/netip"
	"time"

	"torrentfs/swarm/peers"
)

var errNetworkGone = errors.New("this computer no longer has the address of the connection")

// NetworkChanged says that this computer has other addresses than before, and
// which: connections from one that is gone are over, though no packet will ever
// say so, and what could not be reached before is tried anew, and soon. have
// must be cheap.
func (s *Session) NetworkChanged(have func(netip.Addr) bool) {
	s.mu.Lock()
	torrents := make(map[*Torrent]struct{}, len(s.torrents))
	for _, t := range s.torrents {
		torrents[t] = struct{}{}
	}
	searches := make([]*metadataSearch, 0, len(s.searches))
	for _, m := range s.searches {
		searches = append(searches, m)
	}
	s.mu.Unlock()
	s.limits.Forgive()
	for t := range torrents {
		_ = t.call(func() { t.moveNetwork(have) }) // it has ended: nothing to do
	}
	for _, m := range searches {
		_ = m.usePool(func(p *peers.Pool, now time.Duration) { p.NetworkChanged(now) }) // likewise
	}
}

// moveNetwork is NetworkChanged for one torrent, in its loop.
func (t *Torrent) moveNetwork(have func(netip.Addr) bool) {
	for _, c := range t.peers {
		if c != nil && c.Local.IsGlobalUnicast() && !have(c.Local) {
			c.Close(errNetworkGone)
		}
	}
	now := t.now()
	t.pool.NetworkChanged(now)
	t.houseDue = now
}
