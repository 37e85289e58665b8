package dht

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	library "github.com/anacrolix/dht/v2"
)

const (
	announceInterval = 15 * time.Minute // between announces that found peers
	firstRetry       = 30 * time.Second // after one that found none; doubles, up to announceInterval
	soonRetry        = time.Second      // after one that found no node to ask; doubles, up to firstRetry
	shortestInterval = 30 * time.Second // however much peers are needed
	lookupLimit      = 2 * time.Minute  // of one lookup with its announce
	lookupLanes      = 4                // lookups at once, and as many first ones
)

// Announcement configures Announce for one torrent.
type Announcement struct {
	InfoHash [20]byte // cut to 20 bytes for v2 torrents
	// Port is the port that peers can connect to; 0 looks for peers without an announce, unless
	// Implied is set: peers then share the port of the DHT's socket.
	Port    uint16
	Implied bool
	// Found is called with peers as replies bring them, each once per lookup.
	// It must not block; calls may overlap, none is made after Announce returned.
	Found func([]netip.AddrPort)
	// Need, if not nil, asks for a lookup soon by a value sent to it.
	Need <-chan struct{}
}

// Announce looks for a torrent's peers and announces us as one, at once and
// from time to time, until ctx ends, which is its only error beside ErrClosed.
// It waits for Run to find nodes.
func (d *DHT) Announce(ctx context.Context, a Announcement) error {
	if !d.enter() {
		return ErrClosed
	}
	defer d.running.Done()
	inner, cancel := d.whileOpen(ctx)
	defer cancel()
	if a.Found == nil {
		a.Found = func([]netip.AddrPort) {}
	}
	var (
		wg    sync.WaitGroup
		needs = make([]chan struct{}, len(d.nodes))
	)
	for i, n := range d.nodes {
		needs[i] = make(chan struct{}, 1)
		wg.Go(func() { n.announce(inner, a, needs[i]) })
	}
	for {
		select {
		case _, ok := <-a.Need:
			if !ok {
				a.Need = nil
			}
			for _, c := range needs {
				select {
				case c <- struct{}{}:
				default: // is known
				}
			}
		case <-inner.Done():
			wg.Wait()
			if err := ctx.Err(); err != nil {
				return err
			}
			return ErrClosed
		}
	}
}

// announce is Announce for one family.
func (n *node) announce(ctx context.Context, a Announcement, need <-chan struct{}) {
	select {
	case <-n.host.ready:
	case <-ctx.Done():
		return
	}
	retry, soon := firstRetry, soonRetry
	for first := true; ctx.Err() == nil; first = false {
		began := time.Now()
		asked, found := n.lookup(ctx, a, first)
		if asked == 0 { // the first replies are on their way into the table, or the network is gone
			if !pause(ctx, soon, need) {
				return
			}
			soon = min(2*soon, firstRetry)
			continue
		}
		soon = soonRetry
		wait := announceInterval
		if found == 0 {
			wait, retry = retry, min(2*retry, announceInterval)
		} else {
			retry = firstRetry
		}
		// A tenth to either side, so that many torrents do not stay in step.
		wait += time.Duration((rand.Float64() - 0.5) * 0.2 * float64(wait))
		if !pause(ctx, time.Until(began.Add(shortestInterval)), nil) ||
			!pause(ctx, wait-time.Since(began), need) {
			return
		}
	}
}

// pause waits for d, or for less if it is needed. It reports false when ctx ended.
func pause(ctx context.Context, d time.Duration, need <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-need:
	case <-ctx.Done():
		return false
	}
	return true
}

// lookup makes one lookup and announces us to the nodes nearest to the
// info-hash. It returns how many nodes it asked, and how many peers it found.
func (n *node) lookup(ctx context.Context, a Announcement, first bool) (asked, found int) {
	if !n.lanes.enter(ctx, first) {
		return 0, 0
	}
	defer n.lanes.leave(first)
	s := n.server(ctx)
	if s == nil {
		return 0, 0
	}
	ctx, cancel := context.WithTimeout(ctx, lookupLimit)
	defer cancel()
	var opts []library.AnnounceOpt
	if a.Port != 0 || a.Implied {
		opts = append(opts, library.AnnouncePeer(library.AnnouncePeerOpts{Port: int(a.Port), ImpliedPort: a.Implied}))
	}
	op, err := s.AnnounceTraversal(a.InfoHash, opts...)
	if err != nil {
		n.logger.Debug("look for peers in the DHT", "err", err)
		return 0, 0
	}
	defer op.Close()
	seen := make(map[netip.AddrPort]bool)
	stop := ctx.Done()
	for {
		select {
		case <-stop:
			op.Close() // Peers is closed when all of it has ended
			stop = nil
		case v, ok := <-op.Peers:
			if !ok {
				n.logger.Debug("looked for peers in the DHT", "nodes", op.NumContacted(), "peers", len(seen))
				return int(op.NumContacted()), len(seen)
			}
			var fresh []netip.AddrPort
			for _, p := range v.Peers {
				addr, ok := netip.AddrFromSlice(p.IP)
				ap := netip.AddrPortFrom(addr, uint16(p.Port))
				if ok && !seen[ap] && len(seen) < maxFound {
					seen[ap] = true
					fresh = append(fresh, ap)
				}
			}
			if len(fresh) > 0 && stop != nil {
				a.Found(fresh)
			}
		}
	}
}

// maxFound bounds the peers of one lookup.
const maxFound = 5000

// server waits for the running server; nil when ctx ended.
func (n *node) server(ctx context.Context) *server {
	for {
		n.mu.Lock()
		s, started := n.srv, n.started
		n.mu.Unlock()
		if s != nil {
			return s
		}
		select {
		case <-started:
		case <-ctx.Done():
			return nil
		}
	}
}

// lanes bound the lookups under way. First ones have a lane of their own: a read may be waiting for
// a torrent that was just added, and a thousand others announce themselves every quarter of an
// hour.
type lanes struct {
	first, later chan struct{}
}

func newLanes() lanes {
	return lanes{make(chan struct{}, lookupLanes), make(chan struct{}, lookupLanes)}
}

func (l lanes) enter(ctx context.Context, first bool) bool {
	c := l.later
	if first {
		c = l.first
	}
	select {
	case c <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (l lanes) leave(first bool) {
	if first {
		<-l.first
	} else {
		<-l.later
	}
}
