package swarm

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"torrentfs/internal/budget"
	"torrentfs/metainfo"
	"torrentfs/picker"
	"torrentfs/swarm/conn"
	"torrentfs/swarm/wire"
)

// MetadataConfig says whose info dictionary is wanted and where to look for it.
type MetadataConfig struct {
	Hash     metainfo.InfoHash
	Sources  []PeerSource
	Peers    []netip.AddrPort // known beforehand
	Progress func(MetadataProgress)
}

// MetadataProgress is how far a search has come, for whoever waits.
type MetadataProgress struct {
	Known     int   // addresses
	Connected int   // peers that answered the handshake
	Size      int64 // of the info dictionary, as a peer claims; 0: nobody said
	Received  int64 // bytes of it, not verified yet
}

// Limits of a search for metadata.
const (
	metadataPeers    = 16               // dials, and connections to those who have it, at once
	metadataIdlers   = 16               // connections beside them, to those who may tell of others
	metadataIncoming = 32               // connections that came to us, of both kinds
	metadataPatience = 15 * time.Second // for what a peer is to send next
	idlerPatience    = 100 * time.Second
	searchTick       = time.Second
)

// FetchMetadata gets the info dictionary of a magnet link from peers (BEP 9).
// It asks several at once, and trusts nothing but the hash. It ends with ctx.
// The connections to its peers live on in the result, which is to be given to
// [Session.Add], or else closed.
func (s *Session) FetchMetadata(ctx context.Context, cfg MetadataConfig) (*Metadata, error) {
	m := s.newSearch(ctx, cfg)
	if err := s.register(m); err != nil {
		m.cancel()
		return nil, err
	}
	m.Found(Introducer{}, cfg.Peers)
	for _, src := range cfg.Sources {
		m.wg.Go(func() {
			if err := src.Run(m.ctx, m); err != nil && m.ctx.Err() == nil {
				s.log.Warn("find peers: " + err.Error())
			}
		})
	}
	err := m.run()
	m.close()
	found := m.harvest()
	if err != nil {
		found.Close()
		return nil, err
	}
	return found, nil
}

// metadataSearch is one search: addresses, connections, and what came so far.
// Dials and its connections are goroutines; what they share is guarded by mu.
type metadataSearch struct {
	s      *Session
	cfg    MetadataConfig
	ctx    context.Context
	cancel context.CancelFunc
	start  time.Time
	wg     sync.WaitGroup
	wake   chan struct{}       // something for run to look at; holds one token
	events chan conn.Event     // of its connections
	stuck  chan netip.AddrPort // dialled, and silent so far; what does not fit is dropped

	mu        sync.Mutex
	closed    bool
	known     addressBook
	called    budget.Budget // strangers to connect to, by peers' word (BEP 55)
	busy      int           // dials, and outgoing connections but for the idlers
	incoming  int
	idlers    []*metadataPeer // outgoing connections to those who have no metadata, the oldest first
	peers     map[picker.PeerID]*metadataPeer
	peerCount int // connections ever
	bySize    map[int64]*metadataDraft
	givers    []netip.AddrPort // peers that gave blocks
	result    []byte
	kept      []*keptConn
	progress  MetadataProgress
}

func (s *Session) newSearch(ctx context.Context, cfg MetadataConfig) *metadataSearch {
	ctx, cancel := context.WithCancel(ctx)
	return &metadataSearch{
		s: s, cfg: cfg, ctx: ctx, cancel: cancel,
		known: addressBook{rand: rand.New(rand.NewPCG(s.cfg.Seed, 9)), gate: &s.dials}, start: time.Now(),
		wake: make(chan struct{}, 1), stuck: make(chan netip.AddrPort, metadataPeers), events: make(chan conn.Event, 16),
		bySize: map[int64]*metadataDraft{}, peers: map[picker.PeerID]*metadataPeer{},
	}
}

// register makes incoming connections for the info-hash find the search.
func (s *Session) register(m *metadataSearch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return ErrClosed
	}
	if s.searches == nil {
		s.searches = map[[20]byte]*metadataSearch{}
	}
	hashes := wireHashes(m.cfg.Hash)
	for _, h := range hashes {
		if s.searches[h] != nil {
			return fmt.Errorf("fetch metadata of %s: %w", m.cfg.Hash, ErrDuplicate)
		}
	}
	for _, h := range hashes {
		s.searches[h] = m
	}
	return nil
}

// close ends dials and connections, but for those that are kept with a result.
func (m *metadataSearch) close() {
	m.s.mu.Lock()
	for _, h := range wireHashes(m.cfg.Hash) {
		delete(m.s.searches, h)
	}
	m.s.mu.Unlock()
	m.mu.Lock()
	m.closed = true
	for _, p := range m.peers {
		p.Park()
	}
	m.mu.Unlock()
	m.cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		m.wg.Wait()
	}()
	for {
		select {
		case e := <-m.events:
			m.handlePeerEvent(e)
		case <-ended:
			return
		}
	}
}

// now is the clock of its address book.
func (m *metadataSearch) now() time.Duration { return time.Since(m.start) }

// Found implements [Seeker].
func (m *metadataSearch) Found(by Introducer, peers []netip.AddrPort) {
	now := m.now()
	m.mu.Lock()
	for _, a := range peers {
		m.known.add(a, by, now)
	}
	m.mu.Unlock()
	m.poke()
}

// Totals implements [Seeker]: nothing was moved, and how much lacks is not known.
func (m *metadataSearch) Totals() (received, sent, left int64) { return 0, 0, blockSize }

// Settled implements [Seeker]: a search has nothing to hash.
func (m *metadataSearch) Settled() <-chan struct{} {
	done := make(chan struct{})
	close(done)
	return done
}

func (m *metadataSearch) poke() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// run dials until the metadata is there.
func (m *metadataSearch) run() error {
	tick := time.NewTicker(searchTick)
	defer tick.Stop()
	asked := time.Now()
	for {
		m.mu.Lock()
		done := m.result != nil
		m.mu.Unlock()
		if done {
			m.report() // also where all of it came at once
			return nil
		}
		hungry := m.dialMore()
		m.report()
		select {
		case <-m.ctx.Done():
			return m.ctx.Err()
		case <-m.s.ctx.Done():
			return ErrClosed
		case e := <-m.events:
			m.handlePeerEvents(e)
		case <-m.wake:
		case a := <-m.stuck:
			m.mu.Lock()
			m.askRelay(a)
			m.mu.Unlock()
		case <-tick.C:
			m.reviewPeers()
			if hungry && time.Since(asked) > askInterval {
				asked = time.Now()
				for _, src := range m.cfg.Sources {
					src.NeedPeers()
				}
			}
		}
	}
}

func (m *metadataSearch) report() {
	if m.cfg.Progress == nil {
		return
	}
	m.mu.Lock()
	p := MetadataProgress{Known: len(m.known.list), Connected: len(m.peers)}
	for size, d := range m.bySize {
		if got := int64(d.got.Count()) * wire.MetadataBlock; p.Size == 0 || got > p.Received {
			p.Size, p.Received = size, min(got, size)
		}
	}
	changed := p != m.progress
	m.progress = p
	m.mu.Unlock()
	if changed {
		m.cfg.Progress(p)
	}
}

// dialMore dials what is due and says whether nobody is left to dial or to ask.
func (m *metadataSearch) dialMore() (hungry bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	for m.busy < metadataPeers {
		a := m.known.pick(now, false)
		if a == nil {
			return m.busy == 0
		}
		ticket := m.takePlaces(a.addr.Addr(), a.by)
		if ticket == nil {
			return m.busy == 0
		}
		a.inUse, a.asked = true, 0
		a.dials++
		d := dialPlan{addr: a.addr, hash: m.hashFor(a), encrypt: a.encrypt, eager: !a.plain, ticket: ticket}
		m.wg.Go(func() { m.dial(d) })
	}
	return false
}
