package library

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"

	"torrentfs/net/egress"
	"torrentfs/swarm"
	"torrentfs/swarm/lsd"
)

// localPeers are found in the local network (BEP 14), in whichever this
// computer is: a group is joined on an interface, and left with it.
type localPeers struct {
	// Immutable once run.
	port    uint16 // where peers reach us; 0: off
	network *egress.Network

	mu      sync.Mutex // guards what follows; a leaf
	sinks   map[[20]byte]swarm.PeerSink
	service *lsd.Service       // nil if there is no network that knows multicast
	end     context.CancelFunc // ends it
}

// begin joins the groups of all interfaces that there are now, and announces
// every torrent there, in place of what ran before. It is called by one goroutine at a time.
func (l *localPeers) begin(ctx context.Context, wg *sync.WaitGroup, log *slog.Logger) {
	if l.port == 0 || ctx.Err() != nil {
		return
	}
	groups, err := lsd.Groups(l.network, nil)
	if len(groups) == 0 {
		log.Debug("no local service discovery", "err", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.end != nil {
		l.end()
		l.service, l.end = nil, nil
	}
	if len(groups) == 0 {
		return
	}
	s := lsd.New(lsd.Config{Groups: groups, Port: l.port, Found: l.found, Logger: log.With("from", "lsd")})
	for hash := range l.sinks {
		s.Add(hash)
	}
	ctx, l.end = context.WithCancel(ctx)
	l.service = s
	wg.Go(func() {
		if err := s.Run(ctx); err != nil && ctx.Err() == nil {
			log.Warn("local service discovery ended", "err", err)
		}
	})
}

// found hands a peer of the local network to the torrent that it is of.
func (l *localPeers) found(infoHash [20]byte, peer netip.AddrPort) {
	l.mu.Lock()
	w := l.sinks[infoHash]
	l.mu.Unlock()
	if w != nil {
		w.Found(swarm.Introducer{Kind: swarm.ByLSD}, []netip.AddrPort{peer})
	}
}

// lsdSource finds one torrent's peers in the local network.
type lsdSource struct {
	l    *localPeers
	hash [20]byte
}

// Run implements [swarm.PeerSource].
func (s *lsdSource) Run(ctx context.Context, w swarm.PeerSink) error {
	s.l.mu.Lock()
	s.l.sinks[s.hash] = w
	if s.l.service != nil {
		s.l.service.Add(s.hash)
	}
	s.l.mu.Unlock()
	<-ctx.Done()
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	delete(s.l.sinks, s.hash)
	if s.l.service != nil {
		s.l.service.Remove(s.hash)
	}
	return nil
}

// NeedPeers implements [swarm.PeerSource]: the BEP allows no announce out of turn.
func (s *lsdSource) NeedPeers() {}
