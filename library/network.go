package library

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"torrentfs/net/guard"
	"torrentfs/net/monitor"
)

// watchNetwork follows this computer from one network to the next, until the
// library is closed. It is discovery's because that has the goroutines which
// outlive no torrent.
func (l *Library) watchNetwork() {
	l.discover.wg.Go(func() { monitor.Watch(l.discover.ctx, nil, l.networkChanged) })
}

// networkChanged makes everything that waits for an answer from the network of
// before begin anew in this one.
func (l *Library) networkChanged(c monitor.Change) {
	l.offline.Store(len(c.Have) == 0)
	if len(c.Have) == 0 {
		l.log.Warn("there is no network: waiting for one")
	} else {
		l.log.Info("the network has changed", "gained", fmt.Sprint(c.Gained), "lost", fmt.Sprint(c.Lost))
	}
	l.session.NetworkChanged(func(a netip.Addr) bool {
		_, found := slices.BinarySearchFunc(c.Have, a, netip.Addr.Compare)
		return found
	})
	l.discover.networkChanged(l.log)
	if len(c.Gained) == 0 {
		return // nothing is reached now that was not before
	}
	for _, s := range l.allSources() {
		s.networkChanged()
	}
}

// Offline reports whether this computer has no network.
func (l *Library) Offline() bool { return l.offline.Load() }

// allSources are the sources of torrents, and of the metadata that is sought or was found.
func (l *Library) allSources() (all []peerSources) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for t := range l.torrents {
		all = append(all, t.sources)
	}
	for s := range l.searches {
		all = append(all, s.sources)
	}
	return all
}

// networkChanged asks the trackers and all other sources again.
func (s peerSources) networkChanged() {
	if s.trackers != nil {
		s.trackers.networkChanged()
	}
	for _, src := range s.others {
		src.NeedPeers()
	}
}

func (s *trackers) networkChanged() {
	if a := s.announcer.Load(); a != nil {
		a.NetworkChanged()
	}
	if s.twin != nil {
		s.twin.networkChanged()
	}
}

// sourceOf is the address of ours that the system would send from to a peer.
func (l *Library) sourceOf(to netip.AddrPort) netip.Addr {
	probe, err := l.cfg.Network.out().DialContext(context.Background(), "udp", to.String()) // sends nothing
	if err != nil {
		return netip.Addr{}
	}
	defer probe.Close()
	if local, ok := probe.LocalAddr().(*net.UDPAddr); ok {
		return local.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// behindProxy is whom peers and nodes of the DHT must not be, by their addresses:
// those of the blocklist, and behind a proxy those that are not public. Such an
// address, which a stranger named, would be the proxy's own or in its network.
func behindProxy(cfg Config) func(netip.Addr) bool {
	if !cfg.Network.out().Proxied() {
		return cfg.Blocked
	}
	return func(a netip.Addr) bool {
		return !guard.IsPublic(a) && !cfg.Network.trust().Addr(a) && !slices.Contains(cfg.TrustPeers, a.Unmap()) || cfg.Blocked != nil && cfg.Blocked(a)
	}
}
