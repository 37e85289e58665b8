package swarm

import (
	"slices"
	"time"

	"torrentfs/internal/bitset"
	"torrentfs/metainfo"
	"torrentfs/swarm/pieces/smartban"
	"torrentfs/swarm/wire"
)

// How peers are asked for hashes (BEP 52).
const (
	proofPatience = 250 * time.Millisecond // plus three round trips: after that another peer is asked as well
	proofTimeout  = 4 * time.Second        // plus three round trips; after that a peer counts as one that proves nothing
	proofPause    = time.Minute            // for so long it is then left alone
	maxAsks       = 400                    // requests for hashes that one peer is to answer; libtorrent takes 500
	layerAsks     = 4                      // of them for piece layers
	lazyPause     = 30 * time.Millisecond  // after the request for its block a lazy peer is asked for a leaf
	idleProofs    = 256                    // pieces whose leaves are remembered although nothing is under way
)

// blockProofs is what the loop knows of the proofs of one piece's blocks.
type blockProofs struct {
	file   *v2File
	wanted bitset.Set // blocks that a reader needs
	came   bitset.Set // received
	good   bitset.Set // committed by themselves
	known  bitset.Set // whose leaf is known
	asked  bitset.Set // whose leaf somebody was asked for, and may still tell
	jobs   int        // proofs at a hash worker
	whole  bool       // nobody can prove its leaves: the reader waits for the whole piece
}

func (b *blockProofs) idle() bool {
	if b.jobs > 0 {
		return false
	}
	for i := range b.came {
		if b.came[i]&^b.good[i] != 0 {
			return false
		}
	}
	return true
}

// hashAsk is a request for hashes that a peer has not answered.
type hashAsk struct {
	wire.HashRange
	file  *v2File
	piece int // of leaves; -1: nodes of the piece layer
	sent  time.Duration
	again bool // it was rejected before the peer sent a block of the piece
	after bool // it was sent after the peer sent one
	wait  bool // rejected, and to be sent again when the peer sends one
	late  bool // given up; a late answer is as good as any

	refused bool // given up, and no answer comes: the peer has not read of the piece

	held bool          // it was not sent with the request for the block
	due  time.Duration // while it waits: when it is sent at the latest; 0: when the block came
}

// covers reports whether the answer tells the leaf of a block.
func (a *hashAsk) covers(t *Torrent, piece, block int) bool {
	if a.piece != piece {
		return false
	}
	i := a.file.leafIndex(piece, t.info.BlocksPerPiece()) + block - int(a.Index)
	return i >= 0 && i < int(a.Length)
}

// proofsOf returns what is known of a piece's proofs, made when it is first asked for.
func (t *Torrent) proofsOf(piece int) *blockProofs {
	if b := t.proofs[piece]; b != nil {
		return b
	}
	f := t.trees.at(piece)
	if f == nil {
		return nil
	}
	n := t.info.NumBlocks(piece)
	b := &blockProofs{
		file: f, wanted: bitset.New(n), came: bitset.New(n), good: bitset.New(n), known: bitset.New(n), asked: bitset.New(n),
	}
	if t.ledger.UnderWay(piece) { // the worker's bits are not ours: ask the store
		for i := range f.leaves(piece, t.info.PieceLength()) {
			if t.store.HasBlock(piece, i) {
				b.good.Set(i)
			}
		}
		for i, s := range t.ledger.Evidence().Senders(piece) {
			if s.Known() {
				b.came.Set(i)
			}
		}
	}
	t.proofs[piece] = b
	return b
}

// requested follows a request for a block from c, nil for a web seed. Where a reader needs it, or
// its piece was wrong before, c itself is asked for its leaf if it can prove
// that, so that the proof comes with the block; else another is, else the
// reader has to wait for the piece. All leaves of a piece that a reader will
// come to are asked for at once.
func (t *Torrent) requested(c *peerConn, piece, block int, wanted bool) {
	if !wanted && !t.ledger.Suspicious(piece) {
		return
	}
	b := t.proofsOf(piece)
	if b == nil || b.whole || b.known.Has(block) || block >= b.file.leaves(piece, t.info.PieceLength()) {
		return
	}
	if b.file.level == 0 {
		return // one block is the piece, and verifies with it
	}
	b.wanted.Set(block)
	n := 2
	if !t.awaitedBlock(piece, block) {
		if b.asked.Has(block) {
			return
		}
		n = min(1<<b.file.level, maxAsk)
	}
	switch {
	case c != nil && t.canProve(c, piece):
		t.askSender(c, b, piece, block, n)
	case b.asked.Has(block):
	case !t.askAnother(b, piece, block, n):
		t.fetchWhole(b, piece)
	}
}

// proveDemands asks for the leaves of what new reads wait for and nobody was
// just asked for: blocks that had been requested or were here before.
func (t *Torrent) proveDemands() {
	for _, d := range t.fresh {
		if t.waiting[d.id] == d {
			t.proveDemand(d)
		}
	}
	clear(t.fresh)
	t.fresh = t.fresh[:0]
}

func (t *Torrent) proveDemand(d *demand) {
	last := t.info.PieceOf(d.off + int64(d.n) - 1)
	for piece := t.info.PieceOf(d.off); piece <= last; piece++ {
		if t.ledger.Has(piece) {
			continue
		}
		b := t.proofsOf(piece)
		if b == nil || b.whole || b.file.level == 0 {
			continue
		}
		start := int64(piece) * t.info.PieceLength()
		from := int(max(d.off-start, 0) / blockSize)
		end := min(int((d.off+int64(d.n)-start+blockSize-1)/blockSize), b.file.leaves(piece, t.info.PieceLength()))
		for i := from; i < end && !b.whole; i++ {
			if b.good.Has(i) || b.known.Has(i) {
				continue
			}
			b.wanted.Set(i)
			if !b.asked.Has(i) && !t.askAnother(b, piece, i, 2) && b.came.Has(i) {
				t.fetchWhole(b, piece)
			}
		}
	}
}

// canProve reports whether a peer may be asked for the leaves of a piece.
func (t *Torrent) canProve(c *peerConn, piece int) bool {
	return c.v2 && c.remote.Has(piece) && t.now() >= c.proveAgain && len(c.asks) < maxAsks
}

// askLeaves sends one request, unless the peer was asked for the same already.
func (t *Torrent) askLeaves(c *peerConn, b *blockProofs, piece, block, n int) {
	for i := range c.asks {
		if a := &c.asks[i]; !a.late && a.covers(t, piece, block) {
			return
		}
	}
	ask := hashAsk{HashRange: t.leafAsk(b.file, piece, block, n), file: b.file, piece: piece, sent: t.now()}
	t.eachBlock(&ask, func(i int) { b.asked.Set(i) })
	t.sendAsk(c, ask)
}

// askSender asks the peer that is to send a block for its leaf: at once, so that
// both come together; a lazy one when it has had time to read the block, which
// it does long before it sends it.
func (t *Torrent) askSender(c *peerConn, b *blockProofs, piece, block, n int) {
	if !c.lazy || t.hasSent(c, piece) {
		t.askLeaves(c, b, piece, block, n)
		return
	}
	for i := range c.asks {
		if a := &c.asks[i]; !a.late && a.covers(t, piece, block) {
			return
		}
	}
	ask := hashAsk{HashRange: t.leafAsk(b.file, piece, block, n), file: b.file, piece: piece, wait: true, held: true, due: t.now() + lazyPause}
	t.eachBlock(&ask, func(i int) { b.asked.Set(i) })
	c.asks = append(c.asks, ask)
	t.askDue = min(t.askDue, ask.due)
}

// sendHeld sends the requests that were held back and are due.
func (t *Torrent) sendHeld(now time.Duration) {
	t.askDue = never
	for _, c := range t.peers {
		if c == nil {
			continue
		}
		for i := range c.asks {
			switch a := &c.asks[i]; {
			case !a.wait || a.late || a.due == 0:
			case a.due <= now:
				a.wait, a.due, a.sent = false, 0, now
				t.post(c, func(b []byte) []byte { return wire.AppendHashRequest(b, a.HashRange) })
			default:
				t.askDue = min(t.askDue, a.due)
			}
		}
	}
}

// sendAsk sends a request; an earlier one of the same that was given up is
// forgotten, since an answer would be taken for that one's.
func (t *Torrent) sendAsk(c *peerConn, ask hashAsk) {
	c.asks = slices.DeleteFunc(c.asks, func(a hashAsk) bool { return a.late && a.HashRange == ask.HashRange })
	c.asks = append(c.asks, ask)
	t.post(c, func(b []byte) []byte { return wire.AppendHashRequest(b, ask.HashRange) })
}

// eachBlock calls f for the blocks whose leaves a request for leaves covers.
func (t *Torrent) eachBlock(a *hashAsk, f func(block int)) {
	first := int(a.Index) - a.file.leafIndex(a.piece, t.info.BlocksPerPiece())
	for i := max(first, 0); i < first+int(a.Length) && i < t.info.NumBlocks(a.piece); i++ {
		f(i)
	}
}

// askAnother asks whoever can prove a block's leaf soonest, and says whether
// there was anybody: first those that have read of the piece already.
func (t *Torrent) askAnother(b *blockProofs, piece, block, n int) bool {
	var best *peerConn
	most := 0
	for _, c := range t.peers {
		if c == nil || !t.canProve(c, piece) || t.isAsked(c, piece, block) {
			continue
		}
		rank := 0
		if t.hasSent(c, piece) {
			rank = 2
		}
		if c.proves {
			rank++
		}
		if best == nil || rank > most || rank == most && c.rtt < best.rtt {
			best, most = c, rank
		}
	}
	if best == nil {
		return false
	}
	t.askLeaves(best, b, piece, block, n)
	return true
}

func (t *Torrent) isAsked(c *peerConn, piece, block int) bool {
	for i := range c.asks {
		if c.asks[i].covers(t, piece, block) {
			return true
		}
	}
	return false
}

// hasSent reports whether blocks of a piece came from a peer.
func (t *Torrent) hasSent(c *peerConn, piece int) bool {
	return t.ledger.Evidence().Sent(piece, smartban.Sender{Peer: c.addr})
}

// owes reports whether a peer is to send a block of a piece.
func (t *Torrent) owes(c *peerConn, piece int) bool {
	for i := range t.info.NumBlocks(piece) {
		if t.picker.Owes(c.id, metainfo.Block{Piece: piece, Index: i}) {
			return true
		}
	}
	return false
}

// fetchWhole gives up on the leaves of a piece.
func (t *Torrent) fetchWhole(b *blockProofs, piece int) {
	if !b.whole {
		b.whole = true
		t.picker.Whole(t.now(), piece)
	}
}
