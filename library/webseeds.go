package library

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"torrentfs/metainfo"
	"torrentfs/net/egress"
	"torrentfs/net/guard"
	"torrentfs/swarm"
	"torrentfs/swarm/webseed"
)

// webSeedOpeners are the torrent's web seeds that can be used: the servers of
// its files (BEP 19), and those of its pieces (BEP 17).
func (l *Library) webSeedOpeners(mi *metainfo.MetaInfo) []swarm.WebSeedOpener {
	var openers []swarm.WebSeedOpener
	add := func(urls []string, pieces bool) {
		seen := map[string]bool{}
		for _, u := range urls {
			if seen[u] {
				continue // two of one server would share its faults, not its load
			}
			seen[u] = true
			cfg := webseed.Config{
				URL: u, Pieces: pieces, Info: mi.Info, Dialer: l.webDialer,
				Logger: l.log.With("torrent", mi.Info.Name),
			}
			if _, err := webseed.New(cfg); err != nil {
				l.log.Info("leave out web seed: "+err.Error(), "torrent", mi.Info.Name)
				continue
			}
			openers = append(openers, func(h swarm.WebSeedHandler) (swarm.WebSeed, error) {
				cfg := cfg
				cfg.Handler = h
				s, err := webseed.New(cfg)
				if err != nil {
					return nil, err
				}
				return s, nil
			})
		}
	}
	add(mi.WebSeeds, false)
	add(mi.HTTPSeeds, true)
	return openers
}

// newWebDialer connects to the servers that torrents name, but for those at an
// address that is blocked. What a proxy connects to is not seen.
func newWebDialer(network *egress.Network, blocked func(netip.Addr) bool, trust *guard.Trust) *guard.Dialer {
	d := guard.For(network, trust)
	if blocked == nil || network.Proxied() {
		return d
	}
	d.Dial = func(ctx context.Context, proto, addr string) (net.Conn, error) {
		a, err := netip.ParseAddrPort(addr)
		if err != nil {
			return nil, fmt.Errorf("dial web seed: %w", err)
		}
		if blocked(a.Addr().Unmap()) {
			return nil, fmt.Errorf("dial web seed: %s is on the blocklist", a.Addr())
		}
		return network.DialContext(ctx, proto, addr)
	}
	return d
}

// WebSeeds is a snapshot of the web seeds.
func (t *Torrent) WebSeeds() []swarm.WebSeedStats { return t.swarm.WebSeeds() }
