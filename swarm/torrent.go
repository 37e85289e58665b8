package swarm

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"torrentfs/metainfo"
	"torrentfs/picker"
	"torrentfs/swarm/conn"
	"torrentfs/swarm/hashes"
	"torrentfs/swarm/peers"
	"torrentfs/swarm/wire"
)

// TorrentConfig is how one torrent is run.
type TorrentConfig struct {
	Info  *metainfo.Info
	Store Store
	// PieceLayers are those of the torrent, checked against the roots of its
	// files (BEP 52); what is missing of them is fetched from peers.
	PieceLayers map[metainfo.SHA256][]metainfo.SHA256

	// Metadata is what the search for Info brought, nil if there was none. Add takes it over, also when it fails.
	Metadata *Metadata

	Sources   []PeerSource         // run until the torrent is closed; if Metadata is taken over, its sources in their place
	Peers     []netip.AddrPort     // known beforehand
	WebSeeds  []WebSeedOpener      // web servers that have the content; the first few are used
	Prefetch  bool                 // download everything, not only what is read
	Want      []metainfo.ByteRange // what to prefetch of it, in the piece space; nil: all
	Order     picker.Order         // of what is prefetched
	ReadAhead int64                // most bytes ahead of a sequential reader, 0 = the picker's default
	NoUpload  bool                 // serve nobody
	MaxPeers  int                  // connections, 0 = 80
	Slots     int                  // unchoke slots, 0 = 8
	Memory    int64                // bytes requested or received and not yet on disk, 0 = 64 MiB
	Reads     ReadOwner            // decides on reads that wait; nil: they wait until their bytes are here
}

// wanted is what is fetched though nobody reads it.
func (c *TorrentConfig) wanted() []metainfo.ByteRange {
	switch {
	case !c.Prefetch:
		return nil
	case c.Want == nil:
		return []metainfo.ByteRange{{Off: 0, Len: c.Info.Size()}}
	}
	return slices.Clone(c.Want)
}

// wants reports whether the background download is to fetch a piece.
func (c *TorrentConfig) wants(piece metainfo.Piece) bool {
	from := int64(piece) * c.Info.PieceLength()
	return c.Prefetch && (c.Want == nil || slices.ContainsFunc(c.Want, func(r metainfo.ByteRange) bool {
		return r.Off < from+c.Info.PieceLength() && from < r.Off+r.Len
	}))
}

// Torrent is one torrent of a session. Its methods may be called from any goroutine.
type Torrent struct {
	// Immutable.
	s     *Session
	cfg   TorrentConfig
	info  *metainfo.Info
	store Store
	log   *slog.Logger
	start time.Time     // zero of the clock of the picker and the pool
	trees *hashes.Trees // nil: v1 alone
	ctx   context.Context
	stop  context.CancelFunc
	done  chan struct{} // closed when the loop has ended
	wg    sync.WaitGroup

	// To the loop.
	fromPeers chan conn.Event // nil before the first peer: it takes more room than all else
	arrivals  chan *peer
	calls     chan func()
	changed   <-chan struct{} // the store has events, or room

	// Shared.
	fault   atomic.Pointer[error] // why the torrent was stopped; nil: it was not
	traffic traffic

	// Owned by the loop.
	picker   *picker.Picker
	actions  []picker.Action
	pressure backPressure
	pool     *poolWork
	peers    []*peer // by slot of their ids in the pool; nil if free
	web      *webSeeds
	pieces   *pieceWork
	hashes   *hashExchange // nil: v1 alone
	reads    *blockedReads
	uploads  *uploads
	shortage shortage
	rand     *rand.Rand
	dirtyMsg []*peer // connections whose outbox got something since the last flush
	houseDue time.Duration
	timer    *time.Timer
}

// Add opens a torrent in the session and starts it.
func (s *Session) Add(cfg TorrentConfig) (*Torrent, error) {
	if cfg.MaxPeers <= 0 {
		cfg.MaxPeers = 80
	}
	cfg.MaxPeers = min(cfg.MaxPeers, peers.Slots-maxWebSeeds)
	switch {
	case cfg.NoUpload:
		cfg.Slots = 0
	case cfg.Slots <= 0:
		cfg.Slots = 8
	}
	if cfg.Memory <= 0 {
		cfg.Memory = 64 << 20
	}
	seed := s.cfg.Seed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t := newTorrent(s, cfg, seed)
	s.mu.Lock()
	if s.ctx.Err() != nil {
		s.mu.Unlock()
		cfg.Metadata.Close()
		return nil, ErrClosed
	}
	names := wireHashes(cfg.Info.Hash)
	for _, h := range names {
		if s.torrents[h] != nil {
			s.mu.Unlock()
			cfg.Metadata.Close()
			return nil, fmt.Errorf("add torrent %q: %w", cfg.Info.Name, ErrDuplicate)
		}
	}
	for _, h := range names {
		s.torrents[h] = t
	}
	s.mu.Unlock()

	t.openPool(seed)
	t.adopt()
	doubtful := t.pieces.Doubtful() // the loop's, from here on
	go t.run()
	t.pool.sources.attach(t)
	t.pieces.hasher.StartCheckers(doubtful, runtime.GOMAXPROCS(0))
	if t.hashes != nil {
		t.wg.Go(t.hashes.answer)
	}
	return t, nil
}

func newTorrent(s *Session, cfg TorrentConfig, seed uint64) *Torrent {
	ctx, stop := context.WithCancel(context.Background())
	info := cfg.Info
	t := &Torrent{
		s: s, cfg: cfg, info: info, store: cfg.Store,
		log:      s.log.With("torrent", info.Name),
		trees:    hashes.NewTrees(info, cfg.PieceLayers),
		ctx:      ctx,
		stop:     stop,
		done:     make(chan struct{}),
		arrivals: make(chan *peer),
		calls:    make(chan func()),
		changed:  cfg.Store.Changed(),
		rand:     rand.New(rand.NewPCG(seed, 0x746f7272656e74)),
	}
	t.hashes = newHashExchange(t)
	t.pieces = newPieceWork(t)
	t.uploads = newUploads(t)
	t.picker = picker.New(picker.Config{LeafVerified: info.Hash.HasV2, Order: cfg.Order, ReadAhead: cfg.ReadAhead}, info.Geometry, seed)
	t.timer = time.NewTimer(0)
	t.traffic.measured = time.Now()
	t.web = newWebSeeds(t)
	t.reads = newBlockedReads(t)
	return t
}

// adopt takes over what the store has at the start. Pieces in doubt count as
// held for the picker until a checker finds one wrong.
func (t *Torrent) adopt() {
	n := t.info.NumPieces()
	t.pieces.adopt()
	for i := range n {
		if t.pieces.Has(i) || t.pieces.InDoubt(i) {
			t.picker.Verified(0, i, true)
		}
	}
	if t.cfg.Prefetch {
		t.picker.SetWant(0, t.cfg.wanted())
	}
	for piece, blocks := range t.store.Blocks {
		for b := range t.info.NumBlocks(piece) {
			if blocks[b/64]&(1<<(b%64)) != 0 && !t.pieces.InDoubt(piece) {
				t.picker.Adopt(0, metainfo.Block{Piece: piece, Index: b})
			}
		}
	}
	t.pieces.noteProgress()
	t.takeOver()
}

// Found tells the torrent of peers' addresses, and who told of them.
func (t *Torrent) Found(by Introducer, peers []netip.AddrPort) {
	_ = t.call(func() { t.pool.Found(t.now(), by, peers) })
}

// SeenAt tells the torrent at which address a tracker sees us (BEP 24): one
// voice among those of the peers.
func (t *Torrent) SeenAt(by string, self netip.Addr) {
	_ = t.call(func() { t.pool.SeenAt(by, self) })
}

// Complete is closed once every piece is verified. They may not all be on disk yet.
func (t *Torrent) Complete() <-chan struct{} { return t.pieces.complete }

// Settled is closed once everything that was found on disk has been hashed.
func (t *Torrent) Settled() <-chan struct{} { return t.pieces.settled }

// Close ends the torrent: waiting reads fail with [ErrClosed], connections are
// closed, and every goroutine has ended when it returns. The store is the caller's.
func (t *Torrent) Close() error {
	t.stop()
	<-t.done
	t.wg.Wait()
	t.pool.sources.close()
	t.pieces.hasher.Wait()
	t.s.mu.Lock()
	for _, h := range wireHashes(t.info.Hash) {
		if t.s.torrents[h] == t {
			delete(t.s.torrents, h)
		}
	}
	t.s.mu.Unlock()
	return nil
}

// call runs f in the loop and waits for it.
func (t *Torrent) call(f func()) error {
	ran := make(chan struct{})
	select {
	case t.calls <- func() { f(); close(ran) }:
		<-ran
		return nil
	case <-t.done:
		return ErrClosed
	}
}

// now is the clock of the picker and the pool.
func (t *Torrent) now() time.Duration { return time.Since(t.start) }

// handshake is what this torrent says first (BEP 3, 6, 10). A hybrid says that
// it speaks v2, too (BEP 52, "upgrade path").
func (t *Torrent) handshake() wire.Handshake {
	f := wire.FeatureExtension | wire.FeatureFast
	if t.trees != nil {
		f |= wire.FeatureV2
	}
	if t.usesDHT() {
		f |= wire.FeatureDHT
	}
	return wire.NewHandshake(t.info.Hash.Wire(), t.s.peerID, f)
}

// answer is what it answers to a peer's handshake: by the same info-hash, but
// to one who came under the v1 hash of a hybrid and speaks v2 by the v2 hash.
func (t *Torrent) answer(h wire.Handshake) wire.Handshake {
	own := t.handshake()
	own.InfoHash = h.InfoHash
	if t.trees != nil && h.Features().Has(wire.FeatureV2) {
		own.InfoHash = t.info.Hash.WireV2()
	}
	return own
}

// wireHashes are the info-hashes under which peers ask for a torrent.
func wireHashes(h metainfo.InfoHash) [][20]byte {
	if h.HasV1 && h.HasV2 {
		return [][20]byte{h.Wire(), h.WireV2()}
	}
	return [][20]byte{h.Wire()}
}

// Info is the torrent's metadata.
func (t *Torrent) Info() *metainfo.Info { return t.info }
