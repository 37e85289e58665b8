package swarm

import (
	"sync/atomic"
	"time"

	"torrentfs/metainfo"
	"torrentfs/picker"
	"torrentfs/swarm/conn"
	"torrentfs/swarm/hashes"
	"torrentfs/swarm/pieces"
	"torrentfs/swarm/pieces/hashing"
	"torrentfs/swarm/pieces/smartban"
	"torrentfs/swarm/wire"
)

// pieceWork joins a torrent with packages pieces and hashing: it tells the ledger what happens, and
// does what it says. The loop owns it.
type pieceWork struct {
	*pieces.Ledger
	t      *Torrent
	hasher *hashing.Hasher
	wasted int64 // payload bytes received twice, unasked or wrong

	// Shared. The loop alone writes them.
	nHeld    atomic.Int32  // committed pieces
	allHeld  atomic.Bool   // every piece is committed
	complete chan struct{} // closed when it first was
	settled  chan struct{} // closed when nothing on disk is in doubt
}

// newPieceWork returns that of a torrent that knows nothing of its pieces yet.
func newPieceWork(t *Torrent) *pieceWork {
	return &pieceWork{
		t: t, hasher: hashing.New(t.s.hashers, t.info, t.trees, t.store, t.done),
		complete: make(chan struct{}), settled: make(chan struct{}),
	}
}

// adopt takes over what the store has at the start.
func (x *pieceWork) adopt() {
	x.Ledger = x.newLedger()
	x.nHeld.Store(int32(x.Count()))
}

// newLedger makes the ledger of the torrent's pieces, with what the store has at the start.
func (x *pieceWork) newLedger() *pieces.Ledger {
	t := x.t
	cfg := pieces.Config{
		Pieces: t.info.NumPieces(), Held: t.store.Held(), InDoubt: t.store.InDoubt(), Leaves: t.trees != nil, Rand: t.rand,
		Blocks: t.info.NumBlocks, Committed: t.store.Has, Stored: x.stored,
	}
	if t.trees != nil {
		cfg.Known = func(piece metainfo.Piece) bool {
			if t.info.Hash.HasV1 {
				return true
			}
			_, known := t.trees.Node(t.trees.File(piece), piece)
			return known
		}
		cfg.Bytes = func(piece metainfo.Piece) int64 { return t.trees.File(piece).Bytes(piece) }
	}
	if t.cfg.Prefetch {
		cfg.Wanted = t.cfg.wants
	}
	return pieces.New(cfg)
}

// stored reports whether any block of a piece is verified by itself.
func (x *pieceWork) stored(piece metainfo.Piece) bool {
	t := x.t
	for b := range t.info.NumBlocks(piece) {
		if t.store.HasBlock(metainfo.Block{Piece: piece, Index: b}) {
			return true
		}
	}
	return false
}

// handleBlock takes a block that came: into the store and to a hash worker, or to the waste if it
// is not wanted.
func (t *Torrent) handleBlock(c *peer, e conn.Event) {
	t.traffic.down.add(int64(e.Length))
	c.down.add(int64(e.Length))
	c.waitingSince = 0
	block := e.Begin / blockSize
	switch t.picker.Received(t.now(), c.id, metainfo.Block{Piece: e.Piece, Index: block}) {
	case picker.NewBlock:
		b := metainfo.Block{Piece: e.Piece, Index: block}
		t.pieces.take(smartban.Sender{Peer: c.Addr}, b, e.Data)
		t.hashes.blockCame(c.id, b)
	case picker.Duplicate:
		t.pieces.wasted += int64(e.Length)
	case picker.Unrequested:
		t.pieces.wasted += int64(e.Length)
		if c.strikes++; c.strikes > maxStrikes {
			c.Close(wire.ErrProtocol)
		}
	}
}

// maxStrikes is how many blocks nobody asked for, or requests while choked, a
// peer may send. Some are honest: messages cross on the wire.
const maxStrikes = 300

// take takes a block that is wanted, and the ownership of data.
func (x *pieceWork) take(by smartban.Sender, b metainfo.Block, data []byte) {
	x.hasher.Begin(b.Piece)
	x.Ledger.Received(b, by)
	x.t.store.Put(b, data)
	x.hasher.Add(b, data)
}

// hashed takes what a hash worker found out.
func (x *pieceWork) hashed(r hashing.Result) {
	t := x.t
	if r.Proof != nil {
		t.hashes.tell(func(k *hashes.Asker, now time.Duration) { k.Checked(now, r.Prover, r.Piece, r.Proof.Ask, r.Valid) })
	}
	if len(r.Good)+len(r.Bad) > 0 {
		x.leafVerdicts(r)
	}
	switch {
	case r.Waits:
		x.Ledger.Complete(r.Piece)
		x.apply(x.Ledger.HashesCame())
		t.hashes.tell((*hashes.Asker).FetchLayers)
	case r.Done && (x.hasher.Current(&r) || r.OK && t.store.Has(r.Piece)): // else it is of blocks that were dropped since
		if r.Err != nil && !r.Contradiction {
			t.log.Error("verify piece: "+r.Err.Error(), "piece", r.Piece)
		}
		x.apply(x.Ledger.Hashed(r.Verdict, x.readBack(r.Piece)))
		x.noteProgress()
	}
}

// leafVerdicts takes what hash workers found of single blocks.
func (x *pieceWork) leafVerdicts(r hashing.Result) {
	t := x.t
	now := t.now()
	tell := func(b metainfo.Block, right bool) {
		t.hashes.tell(func(k *hashes.Asker, _ time.Duration) { k.BlockJudged(b, right) })
		t.picker.LeafVerified(now, b, right)
	}
	for _, i := range r.Good {
		tell(metainfo.Block{Piece: r.Piece, Index: i}, true)
	}
	for _, i := range r.Bad {
		b := metainfo.Block{Piece: r.Piece, Index: i}
		x.wasted += int64(t.info.BlockLen(r.Piece, i))
		x.apply(x.Ledger.BlockFailed(b))
		tell(b, false)
	}
}

// checkQueue is the checkers' channel while there is something to check, else nil.
func (x *pieceWork) checkQueue() chan<- pieces.Check {
	if _, any := x.NextCheck(); !any {
		return nil
	}
	return x.hasher.Checks()
}

// nextCheck is the checkers' next piece, which the select in run then has them take.
func (x *pieceWork) nextCheck() pieces.Check {
	c, _ := x.NextCheck()
	return c
}

// checked takes a checker's verdict; reads that waited for it go on.
func (x *pieceWork) checked(r hashing.Result) {
	t := x.t
	x.apply(x.Ledger.Checked(t.now(), r.Verdict))
	readers := t.reads.rechecking
	t.reads.rechecking = nil
	for _, d := range readers {
		t.reads.admit(d) // waits on, if another of its pieces is in doubt
	}
	x.noteProgress()
}

// noteProgress closes the channels that others wait on.
func (x *pieceWork) noteProgress() {
	t := x.t
	if x.Doubtful() == 0 {
		closeOnce(x.settled)
	}
	if x.Count() < t.info.NumPieces() {
		return
	}
	if x.allHeld.CompareAndSwap(false, true) {
		closeOnce(x.complete)
		t.web.endAll()
		t.uploads.choker.ChangePolicy()
		for _, c := range t.peers {
			if c == nil {
				continue
			}
			if c.isSeed() || c.uploadOnly {
				c.Close(errBothSeeds)
			} else if c.Extended() {
				t.post(c, func(b []byte) []byte { return t.appendExtHandshake(b, c) })
			}
		}
	}
}

func closeOnce(ch chan struct{}) {
	select {
	case <-ch:
	default:
		close(ch)
	}
}

// What was verified can go wrong later: the disk fails, or another program changes a file. A reader
// or a peer's writer that notices has the store withdraw its trust. The store tells the loop by
// events, and the loop has the pieces hashed again, and fetched if they are wrong.

// maxInvalidations is how often one read puts in doubt what it cannot read at one place before it
// fails.
const maxInvalidations = 3

// storeChanged takes what the store tells of pieces: those that were committed and are in doubt now
// are checked again.
func (x *pieceWork) storeChanged() {
	t := x.t
	var doubtful []metainfo.Piece
	for _, e := range t.store.Events() {
		if e.Err != nil {
			x.apply(x.Ledger.Invalidate(t.now(), []metainfo.Piece{e.Piece}, e.Piece, pieces.Unreadable(e.Err)))
			continue
		}
		doubtful = append(doubtful, e.Piece)
	}
	if len(doubtful) > 0 {
		x.apply(x.Ledger.Invalidate(t.now(), doubtful, -1, false))
	}
}

// Duplicate is a file on this machine that is said to have the content of one of
// the torrent's files.
type Duplicate = pieces.Duplicate

// Offer tells of files on this machine whose pieces need not be downloaded. What
// the background wants is taken at once, else what is read. It is called once.
func (t *Torrent) Offer(offered []Duplicate) error {
	if len(offered) == 0 || t.trees == nil {
		return nil
	}
	return t.call(func() {
		t.pieces.Offer(offered)
		for _, d := range t.reads.waiting {
			t.pieces.apply(t.pieces.Claim(t.info.PieceOf(d.off), t.info.PieceOf(d.off+int64(d.n)-1)))
		}
		t.pieces.apply(t.pieces.ClaimWanted())
	})
}
