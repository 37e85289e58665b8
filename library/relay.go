package library

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"sync"

	"torrentfs/metainfo"
	"torrentfs/swarm"
)

// maxReplayed is how many addresses a relay keeps for the next seeker.
const maxReplayed = 2000

// relay is the peer sources of one torrent, whoever wants peers at the moment:
// first the search for its metadata, then the torrent. The sources run on
// across the change, so that a tracker hears of one start and one stop, and
// whoever comes is told what was found before.
type relay struct {
	trackers *trackers          // nil: not announced
	others   []swarm.PeerSource // never asked for a private torrent (BEP 27)

	begin sync.Once
	stop  context.CancelFunc
	wg    sync.WaitGroup // the sources

	mu       sync.Mutex   // guards what follows; a leaf
	seeker   swarm.Seeker // the last one attached; its totals count on
	attached bool
	found    []foundPeer
	seen     map[netip.AddrPort]struct{}
	sights   map[string]netip.Addr // of us, by trackers

	metadata *swarm.Metadata // what the search brought, for the torrent; nil where it has it, or there was none
}

type foundPeer struct {
	addr netip.AddrPort
	by   swarm.Introducer
}

var _ swarm.PeerSource = (*relay)(nil)

func newRelay(t *trackers, others ...swarm.PeerSource) *relay {
	return &relay{trackers: t, others: others, seen: map[netip.AddrPort]struct{}{}, sights: map[string]netip.Addr{}, stop: func() {}}
}

// Run attaches w until ctx ends. The first call starts the sources; they end
// with close.
func (r *relay) Run(ctx context.Context, w swarm.Seeker) error {
	r.mu.Lock()
	r.seeker, r.attached = w, true // before the sources begin: the first thing that they ask is how much lacks
	known := map[swarm.Introducer][]netip.AddrPort{}
	for _, f := range r.found {
		known[f.by] = append(known[f.by], f.addr)
	}
	sights := maps.Clone(r.sights)
	r.mu.Unlock()
	r.begin.Do(r.start)
	for by, peers := range known {
		w.Found(by, peers)
	}
	if v, ok := w.(voter); ok {
		for by, self := range sights {
			v.SeenAt(by, self)
		}
	}
	<-ctx.Done()
	r.mu.Lock()
	if r.seeker == w {
		r.attached = false
	}
	r.mu.Unlock()
	return nil
}

func (r *relay) start() {
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	if r.trackers != nil {
		r.wg.Go(func() { _ = r.trackers.Run(ctx, inlet{r}) }) // it logs its own errors
	}
	for _, src := range r.others {
		r.wg.Go(func() { _ = src.Run(ctx, inlet{r}) })
	}
}

// NeedPeers implements [swarm.PeerSource].
func (r *relay) NeedPeers() {
	if r.trackers != nil {
		r.trackers.NeedPeers()
	}
	for _, src := range r.others {
		src.NeedPeers()
	}
}

// Incomplete implements [swarm.Regainer].
func (r *relay) Incomplete() {
	if r.trackers != nil {
		r.trackers.incomplete()
	}
	for _, src := range r.others {
		src.NeedPeers()
	}
}

// close ends the sources, which say goodbye. Nobody is attached any more.
func (r *relay) close() {
	r.takeMetadata().Close()
	r.begin.Do(func() {}) // never begun: nothing to end
	r.stop()
	r.wg.Wait()
}

// takeMetadata gives what the search brought to the torrent. Only who has the
// relay to itself may call it.
func (r *relay) takeMetadata() *swarm.Metadata {
	md := r.metadata
	r.metadata = nil
	return md
}

// trackersAlone ends the relay and returns what a private torrent may use of
// it: the peers that a tracker named.
func (r *relay) trackersAlone() []netip.AddrPort {
	r.close()
	var peers []netip.AddrPort
	for _, f := range r.found {
		if f.by.Kind == swarm.ByTracker {
			peers = append(peers, f.addr)
		}
	}
	return peers
}

// inlet is where one source brings what it finds.
type inlet struct{ r *relay }

// Found implements [swarm.Seeker].
func (i inlet) Found(by swarm.Introducer, peers []netip.AddrPort) {
	r := i.r
	r.mu.Lock()
	for _, a := range peers {
		if _, known := r.seen[a]; known {
			continue
		}
		if len(r.found) >= maxReplayed { // the oldest are the likeliest to be gone
			delete(r.seen, r.found[0].addr)
			r.found = slices.Delete(r.found, 0, 1)
		}
		r.seen[a] = struct{}{}
		r.found = append(r.found, foundPeer{a, by})
	}
	w, attached := r.seeker, r.attached
	r.mu.Unlock()
	if attached {
		w.Found(by, peers)
	}
}

// SeenAt passes on where a tracker sees us, and keeps it for the next seeker.
func (i inlet) SeenAt(by string, self netip.Addr) {
	r := i.r
	r.mu.Lock()
	r.sights[by] = self // of as many hosts as there are trackers
	w, attached := r.seeker, r.attached
	r.mu.Unlock()
	if v, ok := w.(voter); ok && attached {
		v.SeenAt(by, self)
	}
}

// Totals implements [swarm.Seeker].
func (i inlet) Totals() (received, sent, left int64) {
	i.r.mu.Lock()
	w := i.r.seeker
	i.r.mu.Unlock()
	if w == nil {
		return 0, 0, metainfo.BlockSize
	}
	return w.Totals()
}

// Settled implements [swarm.Seeker]. While the metadata is sought there is
// nothing on disk to be hashed.
func (i inlet) Settled() <-chan struct{} {
	i.r.mu.Lock()
	w := i.r.seeker
	i.r.mu.Unlock()
	if w == nil {
		nothing := make(chan struct{})
		close(nothing)
		return nothing
	}
	return w.Settled()
}

// newSources are the peer sources of a torrent whose metadata may not be known
// yet, and may then turn out to be private.
func (l *Library) newSources(hash metainfo.InfoHash, name string, tiers [][]string, private bool, o sourceOptions) *relay {
	var t *trackers
	if len(tiers) > 0 && !o.noTrackers {
		t = l.newTrackers(hash, name, tiers, private)
	}
	if private {
		return newRelay(t)
	}
	return newRelay(t, l.discover.sources(hash, l.port)...)
}

type sourceOptions struct{ noTrackers bool }

// keepSources leaves the sources of a search to the torrent that will be added.
func (l *Library) keepSources(hash metainfo.InfoHash, r *relay) {
	l.mu.Lock()
	old := l.relays[hash]
	if l.closed {
		old = r
	} else {
		l.relays[hash] = r
	}
	l.mu.Unlock()
	if old != nil {
		old.close()
	}
}

// takeSources returns what keepSources left, nil if nothing.
func (l *Library) takeSources(hash metainfo.InfoHash) *relay {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.relays[hash]
	delete(l.relays, hash)
	return r
}
