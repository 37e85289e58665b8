package swarm

import (
	"math/bits"
	"slices"
	"time"

	"torrentfs/metainfo"
	"torrentfs/swarm/wire"
)

// blockCame sends again what was rejected because the peer had not read of the
// piece, and has a block proven that nobody is asked about.
func (t *Torrent) blockCame(c *peerConn, piece, block int) {
	b := t.proofs[piece]
	if b != nil {
		b.came.Set(block)
	}
	if c == nil {
		return // it came from a web seed, which is asked for no hashes
	}
	c.asks = slices.DeleteFunc(c.asks, func(a hashAsk) bool { return a.refused && a.piece == piece })
	for i := range c.asks {
		if a := &c.asks[i]; a.wait && a.piece == piece {
			a.wait, a.due, a.after, a.sent = false, 0, true, t.now()
			t.post(c, func(b []byte) []byte { return wire.AppendHashRequest(b, a.HashRange) })
		}
	}
	t.proveLate(b, piece, block)
}

// proveLate asks for the leaf of a block that is here, that a reader needs and
// that nobody is asked about.
func (t *Torrent) proveLate(b *blockProofs, piece, block int) {
	if b == nil || b.whole || !b.wanted.Has(block) || b.known.Has(block) || b.asked.Has(block) {
		return
	}
	if !t.askAnother(b, piece, block, 2) {
		t.fetchWhole(b, piece)
	}
}

// leafVerdicts takes what hash workers found of single blocks.
func (t *Torrent) leafVerdicts(r hashResult) {
	b, now := t.proofs[r.piece], t.now()
	for _, block := range r.good {
		if b != nil {
			b.good.Set(block)
		}
		t.picker.LeafVerified(now, metainfo.Block{Piece: r.piece, Index: block}, true)
	}
	for _, block := range r.bad {
		if b != nil {
			b.came.Clear(block)
		}
		t.wasted += int64(t.info.BlockLen(r.piece, block))
		t.apply(t.ledger.BlockFailed(metainfo.Block{Piece: r.piece, Index: block}))
		t.picker.LeafVerified(now, metainfo.Block{Piece: r.piece, Index: block}, false)
	}
}

// hurryProofs looks for proofs that are overdue although their block is here,
// and asks somebody else as well. It runs with the picker's ticks while a read
// is blocked.
func (t *Torrent) hurryProofs(now time.Duration) {
	for _, c := range t.peers {
		if c == nil {
			continue
		}
		for i := 0; i < len(c.asks); i++ {
			a := c.asks[i]
			if a.late || a.piece < 0 || now-a.sent < proofPatience+3*c.rtt {
				continue
			}
			b := t.proofs[a.piece]
			if b == nil || b.whole {
				continue
			}
			t.eachBlock(&a, func(k int) {
				if b.wanted.Has(k) && b.came.Has(k) && !b.known.Has(k) && now-t.askedLast(a.piece, k) >= proofPatience {
					t.askAnother(b, a.piece, k, 2)
				}
			})
		}
	}
}

// askedLast is when a block's leaf was last asked for.
func (t *Torrent) askedLast(piece, block int) (at time.Duration) {
	for _, c := range t.peers {
		if c == nil {
			continue
		}
		for i := range c.asks {
			if a := &c.asks[i]; a.covers(t, piece, block) {
				at = max(at, a.sent)
			}
		}
	}
	return at
}

// reviewAsks is the once-a-second round: who does not answer is left alone, and
// what is missing of piece layers is asked for.
func (t *Torrent) reviewAsks(now time.Duration) {
	if t.trees == nil {
		return
	}
	for _, c := range t.peers {
		if c == nil {
			continue
		}
		for i := range c.asks {
			if a := &c.asks[i]; !a.late && !a.wait && now-a.sent > proofTimeout+3*c.rtt {
				if a.piece < 0 {
					c.layerAgain = now + proofPause
				}
				t.log.Debug("peer proves no hashes: no answer", "addr", c.addr, "client", c.client)
				t.notProver(c)
				break
			}
		}
		t.giveUpWaiting(c)
		c.forgetLate(now)
	}
	t.fetchLayers(now)
	for piece, b := range t.proofs {
		t.reviewProofs(b, piece)
	}
	if len(t.proofs) > idleProofs {
		for piece, b := range t.proofs {
			if b.idle() && !t.awaited(piece) {
				delete(t.proofs, piece)
				t.hashing[piece] = nil
				t.ledger.Abandon(piece)
			}
		}
	}
}

// giveUpWaiting ends the wait for a block that the peer will not send: it was
// taken back, or came from another.
func (t *Torrent) giveUpWaiting(c *peerConn) {
	for i := 0; i < len(c.asks); i++ {
		if a := &c.asks[i]; a.wait && !t.owes(c, a.piece) {
			a.wait, a.late, a.refused = false, true, true
			given := *a
			t.proofFailed(&given, true)
		}
	}
}

// reviewProofs asks for leaves of blocks that are here and that nobody is
// asked for any more: their prover has left.
func (t *Torrent) reviewProofs(b *blockProofs, piece int) {
	for w := range b.wanted {
		for missing := b.wanted[w] & b.came[w] &^ (b.known[w] | b.asked[w] | b.good[w]); missing != 0 && !b.whole; missing &= missing - 1 {
			if block := 64*w + bits.TrailingZeros64(missing); !t.askAnother(b, piece, block, 2) && t.live > 0 {
				t.fetchWhole(b, piece)
			}
		}
	}
}

// awaited reports whether a blocked read needs a piece.
func (t *Torrent) awaited(piece int) bool {
	for _, d := range t.waiting {
		if piece >= t.info.PieceOf(d.off) && piece <= t.info.PieceOf(d.off+int64(d.n)-1) {
			return true
		}
	}
	return false
}

// awaitedBlock reports whether a blocked read needs a block.
func (t *Torrent) awaitedBlock(piece, block int) bool {
	from := int64(piece)*t.info.PieceLength() + int64(block)*blockSize
	for _, d := range t.waiting {
		if d.off < from+blockSize && from < d.off+int64(d.n) {
			return true
		}
	}
	return false
}
