package swarm

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"torrentfs/metainfo"
	"torrentfs/swarm/egress"
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
	metadataPeers    = 16               // connections under way at once
	metadataPatience = 15 * time.Second // for a peer's next message
	searchTick       = time.Second
)

// FetchMetadata gets the info dictionary of a magnet link from peers (BEP 9).
// It asks several at once, and trusts nothing but the hash. It ends with ctx.
// The peers that had something to give are returned, to begin the download with.
func (s *Session) FetchMetadata(ctx context.Context, cfg MetadataConfig) ([]byte, []netip.AddrPort, error) {
	ctx, cancel := context.WithCancel(ctx)
	m := &metadataSearch{
		s: s, cfg: cfg, ctx: ctx, cancel: cancel,
		known: addressBook{rand: rand.New(rand.NewPCG(s.cfg.Seed, 9))}, start: time.Now(),
		wake: make(chan struct{}, 1), bySize: map[int64]*metadataDraft{},
	}
	defer m.close()
	if err := s.register(m); err != nil {
		return nil, nil, err
	}
	m.Found(cfg.Peers)
	for _, src := range cfg.Sources {
		m.wg.Go(func() {
			if err := src.Run(ctx, m); err != nil && ctx.Err() == nil {
				s.log.Warn("find peers: " + err.Error())
			}
		})
	}
	return m.run()
}

// metadataSearch is one search: addresses, connections, and what came so far.
// Each connection is a goroutine; what they share is guarded by mu.
type metadataSearch struct {
	s      *Session
	cfg    MetadataConfig
	ctx    context.Context
	cancel context.CancelFunc
	start  time.Time
	wg     sync.WaitGroup
	wake   chan struct{} // something for run to look at; holds one token

	mu        sync.Mutex
	known     addressBook
	open      int // connections and dials
	connected int
	bySize    map[int64]*metadataDraft
	good      []netip.AddrPort // peers that gave blocks
	result    []byte
	progress  MetadataProgress
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
	if s.searches[m.cfg.Hash.Wire()] != nil {
		return fmt.Errorf("fetch metadata of %s: %w", m.cfg.Hash, ErrDuplicate)
	}
	s.searches[m.cfg.Hash.Wire()] = m
	return nil
}

func (m *metadataSearch) close() {
	m.s.mu.Lock()
	delete(m.s.searches, m.cfg.Hash.Wire())
	m.s.mu.Unlock()
	m.cancel()
	m.wg.Wait()
}

// now is the clock of its address book.
func (m *metadataSearch) now() time.Duration { return time.Since(m.start) }

// Found implements [Seeker].
func (m *metadataSearch) Found(peers []netip.AddrPort) {
	now := time.Since(m.start)
	m.mu.Lock()
	for _, a := range peers {
		m.known.add(a, now)
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
func (m *metadataSearch) run() ([]byte, []netip.AddrPort, error) {
	tick := time.NewTicker(searchTick)
	defer tick.Stop()
	asked := time.Now()
	for {
		m.mu.Lock()
		result, good := m.result, m.good
		m.mu.Unlock()
		if result != nil {
			m.report() // also where all of it came at once
			return result, good, nil
		}
		hungry := m.dialMore()
		m.report()
		select {
		case <-m.ctx.Done():
			return nil, nil, m.ctx.Err()
		case <-m.s.ctx.Done():
			return nil, nil, ErrClosed
		case <-m.wake:
		case <-tick.C:
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
	p := MetadataProgress{Known: len(m.known.list), Connected: m.connected}
	for size, d := range m.bySize {
		if got := int64(d.got.count()) * wire.MetadataBlock; p.Size == 0 || got > p.Received {
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

// dialMore dials what is due and says whether nobody is left to dial or to talk to.
func (m *metadataSearch) dialMore() (hungry bool) {
	now := time.Since(m.start)
	for {
		m.mu.Lock()
		if m.open >= metadataPeers {
			m.mu.Unlock()
			return false
		}
		a := m.known.pick(now, false)
		if a == nil || !m.s.halfOpen.tryTake() {
			hungry = m.open == 0
			m.mu.Unlock()
			return hungry
		}
		a.inUse = true
		m.open++
		m.mu.Unlock()
		m.wg.Go(func() {
			err := m.dial(a)
			m.mu.Lock()
			m.open--
			if errors.Is(err, egress.ErrShut) {
				a.postponed(time.Since(m.start))
			} else {
				a.failed(time.Since(m.start))
			}
			m.mu.Unlock()
			m.s.log.Debug("metadata peer gone", "addr", a.addr, "err", err)
			m.poke()
		})
	}
}

// dial connects, says hello and our extension handshake in one flight, since
// whoever does not know the extension protocol is of no use here.
func (m *metadataSearch) dial(a *address) error {
	m.mu.Lock()
	encrypt := a.encrypt
	m.mu.Unlock()
	k, err := m.s.openPeer(m.ctx, a.addr, greeting{
		hash: m.cfg.Hash.Wire(), hello: m.handshake(), eager: m.appendHello(nil), encrypt: encrypt,
	})
	m.s.halfOpen.give()
	if silent(err) {
		m.mu.Lock()
		a.encrypt = !a.encrypt
		m.mu.Unlock()
	}
	if err != nil {
		return err
	}
	defer k.nc.Close()
	stop := context.AfterFunc(m.ctx, func() { k.nc.Close() })
	defer stop()
	switch h := k.hello; {
	case h.InfoHash != m.cfg.Hash.Wire() && h.InfoHash != m.cfg.Hash.WireV2():
		return errOtherTopic
	case h.PeerID == m.s.peerID:
		return errOurself
	}
	if !k.eager {
		if _, err := k.nc.Write(m.appendHello(nil)); err != nil {
			return err
		}
	}
	return m.talk(k.nc, k.hello, a.addr)
}

// welcome takes an incoming connection past both handshakes, and closes it.
func (m *metadataSearch) welcome(nc net.Conn, h wire.Handshake) {
	defer nc.Close()
	stop := context.AfterFunc(m.ctx, func() { nc.Close() })
	defer stop()
	if _, err := nc.Write(m.appendHello(nil)); err != nil {
		return
	}
	err := m.talk(nc, h, addrPort(nc.RemoteAddr()))
	m.s.log.Debug("incoming metadata peer gone", "addr", nc.RemoteAddr(), "err", err)
}

func (m *metadataSearch) handshake() wire.Handshake {
	return wire.NewHandshake(m.cfg.Hash.Wire(), m.s.peerID, wire.FeatureExtension|wire.FeatureFast)
}

func (m *metadataSearch) appendHello(b []byte) []byte {
	h := wire.ExtHandshake{M: map[string]uint8{wire.ExtMetadata: extMetadata}, V: m.s.cfg.Client, Reqq: maxQueue}
	return wire.AppendExtended(b, 0, h.Append(nil))
}

var errNoMetadata = errors.New("peer has no metadata to give")

// talk asks one peer for blocks until all are there or it has no more to say.
func (m *metadataSearch) talk(nc net.Conn, h wire.Handshake, addr netip.AddrPort) error {
	m.mu.Lock()
	m.connected++
	m.mu.Unlock()
	m.poke()
	defer func() {
		m.mu.Lock()
		m.connected--
		m.mu.Unlock()
	}()
	if !h.Features().Has(wire.FeatureExtension) {
		return errNoMetadata
	}
	p := &metadataPeer{m: m, nc: nc, addr: addr}
	r := wire.NewReader(nc, wire.Limits{Features: h.Features() & (wire.FeatureExtension | wire.FeatureFast)})
	defer p.leave()
	var msg wire.Message
	for {
		nc.SetDeadline(time.Now().Add(metadataPatience))
		if err := r.Next(&msg); err != nil {
			return err
		}
		if msg.ID != wire.Extended {
			continue // its bitfield and the like say nothing without metadata
		}
		if err := p.handle(&msg); err != nil {
			return err
		}
		if m.ctx.Err() != nil {
			return m.ctx.Err()
		}
	}
}

// join finds the draft of a claimed size. The claim is bounded, memory is taken
// as blocks come.
func (m *metadataSearch) join(size int64) *metadataDraft {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.bySize[size]
	if d == nil {
		d = newMetadataDraft(size)
		m.bySize[size] = d
	}
	return d
}

func metadataMatches(info []byte, h metainfo.InfoHash) bool {
	return (!h.HasV1 || sha1.Sum(info) == h.V1) && (!h.HasV2 || sha256.Sum256(info) == h.V2)
}
