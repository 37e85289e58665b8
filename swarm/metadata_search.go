package swarm

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"torrentfs/metainfo"
	"torrentfs/picker"
	"torrentfs/swarm/conn"
	"torrentfs/swarm/metadata"
	"torrentfs/swarm/peers"
	"torrentfs/swarm/wire"
)

// MetadataConfig says whose info dictionary is wanted and where to look for it.
type MetadataConfig struct {
	Hash     metainfo.InfoHash
	Sources  []PeerSource
	Peers    []netip.AddrPort // known beforehand
	Progress func(MetadataProgress)
}

// MetadataProgress is how far a search has come.
type MetadataProgress struct {
	Known     int   // addresses
	Connected int   // peers that answered the handshake
	Size      int64 // of the info dictionary, as a peer claims; 0: none did
	Received  int64 // bytes of it, not verified yet
}

// FetchMetadata gets the info dictionary of a magnet link from peers (BEP 9).
// It asks several at once, and trusts nothing but the hash. It ends with ctx.
// The pool of its peers and the sources live on in the result, which is to be given
// to [Session.Add], or else closed.
func (s *Session) FetchMetadata(ctx context.Context, cfg MetadataConfig) (*Metadata, error) {
	m := s.newSearch(ctx, cfg)
	if err := s.register(m); err != nil {
		m.cancel()
		return nil, err
	}
	m.sources.attach(m)
	err := m.run()
	found := m.end(err == nil)
	if err != nil {
		found.Close()
		return nil, err
	}
	return found, nil
}

// metadataSearch is the first tenant of the pool of peers of a magnet link. What it
// hears of other peers counts for nothing if the torrent turns out to be private
// (BEP 27): see [Metadata]. The goroutine of FetchMetadata is its loop, and owns all
// that follows the channels.
type metadataSearch struct {
	s      *Session
	cfg    MetadataConfig
	ctx    context.Context // of dials
	cancel context.CancelFunc
	wg     sync.WaitGroup

	events   chan conn.Event
	arrivals chan *conn.Conn
	dialed   chan dialResult
	calls    chan func()
	over     chan struct{} // closed when the loop has ended

	sources *sourceGroup

	pool     *peers.Pool
	drafts   *metadata.Search
	conns    []*searchPeer // by slot of their ids; nil: free
	running  int           // in conns
	kept     []*searchPeer // parked, for the torrent
	progress MetadataProgress
	timer    *time.Timer
}

// searchPeer is what the loop knows of a connection.
type searchPeer struct {
	*conn.Conn
	id  picker.PeerID
	ids wire.ExtIDs // the peer's numbers for extension messages
}

func (s *Session) newSearch(ctx context.Context, cfg MetadataConfig) *metadataSearch {
	ctx, cancel := context.WithCancel(ctx)
	m := &metadataSearch{
		s: s, cfg: cfg, ctx: ctx, cancel: cancel, timer: time.NewTimer(0),
		events: make(chan conn.Event, 16), arrivals: make(chan *conn.Conn), dialed: make(chan dialResult),
		calls: make(chan func()), over: make(chan struct{}), sources: newSourceGroup(s.log, cfg.Sources),
		pool:   s.newPool(s.cfg.Seed, peers.Tenant{Search: true, Hybrid: cfg.Hash.HasV1 && cfg.Hash.HasV2}),
		drafts: metadata.New(cfg.Hash),
	}
	m.pool.SetNeeds(0, peers.Needs{Empty: true})
	m.pool.Found(m.now(), Introducer{}, cfg.Peers)
	return m
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

// now is the clock of the pool.
func (m *metadataSearch) now() time.Duration { return time.Since(m.pool.Start()) }

// Totals is for the sources: nothing was moved, and how much lacks is not known.
func (m *metadataSearch) Totals() (received, sent, left int64) { return 0, 0, blockSize }

// Settled is for the sources: a search has nothing to hash.
func (m *metadataSearch) Settled() <-chan struct{} {
	done := make(chan struct{})
	close(done)
	return done
}

// usePool runs f in the loop and waits for it.
func (m *metadataSearch) usePool(f func(p *peers.Pool, now time.Duration)) error {
	ran := make(chan struct{})
	select {
	case m.calls <- func() { f(m.pool, m.now()); close(ran) }:
		<-ran
		return nil
	case <-m.over:
		return ErrClosed
	}
}

// run is the loop, until the metadata is there.
func (m *metadataSearch) run() error {
	for m.drafts.Info() == nil {
		m.flush()
		select {
		case <-m.ctx.Done():
			return m.ctx.Err()
		case <-m.s.ctx.Done():
			return ErrClosed
		case e := <-m.events:
			m.handlePeerEvents(e)
		case c := <-m.arrivals:
			m.join(c)
		case r := <-m.dialed:
			m.handleDialed(r)
		case f := <-m.calls:
			f()
		case <-m.timer.C:
			m.pool.Tick(m.now())
			m.drafts.Tick(m.now())
		}
	}
	m.report() // also if all of it came at once
	return nil
}

// end ends dials and connections, but for those that are kept with a result.
func (m *metadataSearch) end(keep bool) *Metadata {
	m.s.mu.Lock()
	for _, h := range wireHashes(m.cfg.Hash) {
		delete(m.s.searches, h)
	}
	m.s.mu.Unlock()
	m.cancel()
	if !keep {
		m.sources.stop()
	}
	m.timer.Stop()
	m.pool.SetNeeds(m.now(), peers.Needs{Empty: true, Paused: true})
	m.flush() // dials that have begun have a place to give back
	for _, p := range m.conns {
		switch {
		case p == nil:
		case keep:
			p.Park()
		default:
			p.Close(errSearchOver)
		}
	}
	for m.running > 0 || m.pool.Dialing() > 0 {
		select {
		case e := <-m.events:
			m.handlePeerEvent(e)
		case r := <-m.dialed:
			m.pool.Dialed(m.now(), r.dial, r.outcome, false)
			if r.c != nil {
				m.s.discard(r.c)
			}
		case f := <-m.calls:
			f()
		}
	}
	m.wg.Wait()
	m.sources.park(m.pool)
	close(m.over)
	return &Metadata{Info: m.drafts.Info(), Givers: m.drafts.Givers(), s: m.s, hash: m.cfg.Hash, pool: m.pool, sources: m.sources, kept: m.kept}
}

// flush does what the pool and the drafts want done, and sets the timer.
func (m *metadataSearch) flush() {
	for {
		acts, asks := m.pool.Drain(nil), m.drafts.Drain(nil)
		if len(acts)+len(asks) == 0 {
			break
		}
		for i := range acts {
			m.applyPool(&acts[i])
		}
		for _, a := range asks {
			m.applyDrafts(a)
		}
	}
	for _, p := range m.conns {
		if p != nil {
			p.Flush()
		}
	}
	m.report()
	m.timer.Reset(max(0, min(m.pool.NextDeadline(), m.drafts.NextDeadline())-m.now()))
}

// applyPool does one action of the pool.
func (m *metadataSearch) applyPool(a *peers.Action) {
	switch a.Kind {
	case peers.StartDial:
		if a.Dial.Punch {
			m.s.log.Debug("holepunch: connect", "addr", a.Dial.Addr)
		}
		d := a.Dial
		m.wg.Go(func() { m.dialed <- m.dial(d) })
		return
	case peers.AskSources:
		m.sources.needPeers()
		return
	}
	p := m.peer(a.Peer)
	switch {
	case p == nil:
	case a.Kind == peers.Close:
		p.Close(a.Err)
	default:
		logPunch(m.s.log, a.Punch, p.Conn)
		p.Send(func(b []byte) []byte { return appendPoolMessage(b, a, p.ids) })
	}
}

// applyDrafts does one action of the drafts.
func (m *metadataSearch) applyDrafts(a metadata.Action) {
	p := m.peer(a.Peer)
	if p == nil {
		return
	}
	msg := wire.Metadata{Type: wire.MetadataRequest, Piece: a.Block}
	switch a.Kind {
	case metadata.Drop:
		p.Close(a.Err)
		return
	case metadata.Idle:
		m.pool.SetIdle(m.now(), a.Peer)
		return
	case metadata.Reject:
		msg.Type = wire.MetadataReject
	}
	p.Send(func(b []byte) []byte { return wire.AppendExtended(b, p.ids.Metadata, msg.Append(nil)) })
}

func (m *metadataSearch) report() {
	if m.cfg.Progress == nil {
		return
	}
	p := MetadataProgress{Known: m.pool.Known(), Connected: m.pool.Live()}
	p.Size, p.Received = m.drafts.Progress()
	if p != m.progress {
		m.progress = p
		m.cfg.Progress(p)
	}
}

var errSearchOver = errors.New("the search is over")
