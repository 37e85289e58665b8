package hashes

import (
	"maps"
	"math/bits"
	"slices"
	"time"

	"torrentfs/internal/bitset"
	"torrentfs/metainfo"
	"torrentfs/picker"
)

// idlePieces is how many pieces' leaves are remembered although nothing is under way.
const idlePieces = 256

// leaves is what is known of the leaves of one piece.
type leaves struct {
	file   *File
	wanted bitset.Set // blocks that a reader needs, or that are to be proven because the piece was wrong
	came   bitset.Set // received
	good   bitset.Set // verified by themselves
	known  bitset.Set // whose leaf is known
	asked  bitset.Set // whose leaf a peer was asked for, and may still tell
	whole  bool       // nobody can prove its leaves: the reader waits for the whole piece
}

// lacks reports whether a block's leaf is needed and not known.
func (l *leaves) lacks(block int) bool { return l.wanted.Has(block) && !l.known.Has(block) }

// settled reports whether all blocks that came are verified.
func (l *leaves) settled() bool {
	for i := range l.came {
		if l.came[i]&^l.good[i] != 0 {
			return false
		}
	}
	return true
}

// leavesOf returns what is known of a piece's leaves, made when it is first
// asked for; nil if the piece is padding.
func (k *Asker) leavesOf(piece metainfo.Piece) *leaves {
	if l := k.pieces[piece]; l != nil {
		return l
	}
	f := k.trees.File(piece)
	if f == nil {
		return nil
	}
	n := int(f.pieceLength / blockSize)
	l := &leaves{
		file: f, wanted: bitset.New(n), came: bitset.New(n), good: bitset.New(n), known: bitset.New(n), asked: bitset.New(n),
	}
	if k.facts.UnderWay(piece) {
		k.facts.Blocks(piece, l.came, l.good)
	}
	k.pieces[piece] = l
	return l
}

// Requested follows a request for a block whose leaf is needed, because a reader
// needs the block or its piece was wrong before. The peer that is to send it
// (NoPeer: one that cannot be asked for hashes) is asked for its leaf, too, if it
// can prove that, so that both come together; else another is, else the reader
// has to wait for the piece. All leaves of a piece that a reader will come to are
// asked for at once.
func (k *Asker) Requested(now time.Duration, from picker.PeerID, b metainfo.Block) {
	l := k.leavesOf(b.Piece)
	if l == nil || l.whole || b.Index >= l.file.Leaves(b.Piece) || l.known.Has(b.Index) {
		return
	}
	if l.file.level == 0 {
		return // one block is the piece, and verifies with it
	}
	l.wanted.Set(b.Index)
	n := 2
	if !k.facts.Awaits(k.trees.blockRange(b)) {
		if l.asked.Has(b.Index) {
			return
		}
		n = min(1<<l.file.level, maxAsk)
	}
	p := k.byID[from]
	switch {
	case p != nil && k.canProve(now, p, b.Piece):
		k.askSender(now, p, l, b, n)
	case l.asked.Has(b.Index):
	case !k.askAnother(now, l, b, n):
		k.fetchWhole(l, b.Piece)
	}
}

// ReadBlocked asks for the leaves of what a new read waits for and nobody was
// just asked for: blocks that had been requested or were here before.
func (k *Asker) ReadBlocked(now time.Duration, r metainfo.ByteRange) {
	pieceLength := k.trees.pieceLength
	last := metainfo.Piece((r.Off + r.Len - 1) / pieceLength)
	for piece := metainfo.Piece(r.Off / pieceLength); piece <= last; piece++ {
		if k.facts.Held(piece) {
			continue
		}
		l := k.leavesOf(piece)
		if l == nil || l.whole || l.file.level == 0 {
			continue
		}
		start := int64(piece) * pieceLength
		from := int(max(r.Off-start, 0) / blockSize)
		end := min(int((r.Off+r.Len-start+blockSize-1)/blockSize), l.file.Leaves(piece))
		for i := from; i < end && !l.whole; i++ {
			if l.good.Has(i) || l.known.Has(i) {
				continue
			}
			l.wanted.Set(i)
			if !l.asked.Has(i) && !k.askAnother(now, l, metainfo.Block{Piece: piece, Index: i}, 2) && l.came.Has(i) {
				k.fetchWhole(l, piece)
			}
		}
	}
}

// BlockCame tells of a block that was given to a hash worker. What its sender
// rejected, because it had not read of the piece, is sent again; and the block's
// leaf is asked for if a reader needs it and nobody is asked.
func (k *Asker) BlockCame(now time.Duration, from picker.PeerID, b metainfo.Block) {
	l := k.pieces[b.Piece]
	if l != nil {
		l.came.Set(b.Index)
	}
	if p := k.byID[from]; p != nil {
		for i := 0; i < len(p.asks); {
			n := len(p.asks)
			if p.asks[i].piece == b.Piece {
				k.advance(now, p, i, blockCame)
			}
			if len(p.asks) == n {
				i++
			}
		}
	}
	if l == nil || l.whole || !l.lacks(b.Index) || l.asked.Has(b.Index) {
		return
	}
	if !k.askAnother(now, l, b, 2) {
		k.fetchWhole(l, b.Piece)
	}
}

// BlockJudged takes a hash worker's verdict on a block by its leaf.
func (k *Asker) BlockJudged(b metainfo.Block, right bool) {
	switch l := k.pieces[b.Piece]; {
	case l == nil:
	case right:
		l.good.Set(b.Index)
	default:
		l.came.Clear(b.Index)
	}
}

// Forgotten drops what is known of a piece's blocks: it was judged, or begins anew.
func (k *Asker) Forgotten(piece metainfo.Piece) { delete(k.pieces, piece) }

// fetchWhole gives up on the leaves of a piece.
func (k *Asker) fetchWhole(l *leaves, piece metainfo.Piece) {
	if !l.whole {
		l.whole = true
		k.act(Action{Kind: Whole, Piece: piece})
	}
}

// reviewLeaves asks for leaves of blocks that are here and that nobody is asked
// for any more, because their prover has left, and forgets pieces of which
// nothing is under way if there are many.
func (k *Asker) reviewLeaves(now time.Duration) {
	pieces := slices.Sorted(maps.Keys(k.pieces))
	for _, piece := range pieces {
		l := k.pieces[piece]
		for w := range l.wanted {
			missing := l.wanted[w] & l.came[w] &^ (l.known[w] | l.asked[w] | l.good[w])
			for ; missing != 0 && !l.whole; missing &= missing - 1 {
				b := metainfo.Block{Piece: piece, Index: 64*w + bits.TrailingZeros64(missing)}
				if !k.askAnother(now, l, b, 2) && len(k.byID) > 0 {
					k.fetchWhole(l, piece)
				}
			}
		}
	}
	if len(pieces) <= idlePieces {
		return
	}
	for _, piece := range pieces {
		if k.checking[piece] == 0 && k.pieces[piece].settled() && !k.facts.Awaits(k.trees.pieceRange(piece)) {
			delete(k.pieces, piece)
			k.act(Action{Kind: Forget, Piece: piece})
		}
	}
}
