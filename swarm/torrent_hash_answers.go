package swarm

import (
	"time"

	"torrentfs/swarm/wire"
)

// handleHashes takes a peer's answer. One that was not asked for is ignored: it
// may be late.
func (t *Torrent) handleHashes(c *peerConn, e peerEvent) {
	i := c.findAsk(e.ask)
	if i < 0 {
		if c.strikes++; c.strikes > maxStrikes {
			c.close(errNoise)
		}
		return
	}
	a := c.takeAsk(i)
	pr := &proof{ask: a.HashRange, hashes: e.hashes, from: c}
	if len(pr.hashes) != a.NumHashes() {
		t.wrongHashes(c, &a)
		return
	}
	if a.piece < 0 {
		t.handleLayer(c, a, pr)
		return
	}
	c.lazy = c.lazy && (a.held || a.again || a.after || t.hasSent(c, a.piece))
	h := t.hashing[a.piece]
	if h == nil {
		if t.ledger.Has(a.piece) || t.proofs[a.piece] == nil {
			return
		}
		h = newPieceHash(t, a.piece)
		t.hashing[a.piece] = h
		t.ledger.Begin(a.piece)
	}
	t.proofsOf(a.piece).jobs++
	t.hashJobs.Add(1)
	t.s.hashers.submit(hashJob{p: h, proof: pr})
}

// handleProof takes a hash worker's word on a proof.
func (t *Torrent) handleProof(r hashResult) {
	c := r.proof.from
	b := t.proofs[r.piece]
	if b != nil {
		b.jobs--
	}
	a := hashAsk{HashRange: r.proof.ask, piece: r.piece}
	if b != nil {
		a.file = b.file
	}
	if !r.valid {
		t.wrongHashes(c, &a)
		return
	}
	c.proves, c.proveAgain = true, 0
	if b != nil {
		t.eachBlock(&a, func(i int) { b.known.Set(i) })
	}
	t.apply(t.ledger.HashesCame()) // a proof to the root may have told a piece's node
}

// wrongHashes deals with an answer that proves nothing. Some clients return
// other layers' hashes: leaves are not supported there, and that is no fault.
func (t *Torrent) wrongHashes(c *peerConn, a *hashAsk) {
	t.log.Debug("peer proves no hashes: wrong answer", "addr", c.addr, "client", c.client)
	if a.piece < 0 {
		c.layerAgain = t.now() + proofPause
		return
	}
	t.notProver(c)
	t.proofFailed(a, true)
}

// handleHashReject takes a peer's refusal. libtorrent in seed mode, in which it
// has not hashed its own data, refuses the leaves of a piece until it has read
// of it for somebody: it reads a block when it queues it, so the second try is
// made at once, and the last when a block of the piece has come from it.
// Another peer, which is to send nothing of the piece, is of no use for it.
func (t *Torrent) handleHashReject(c *peerConn, e peerEvent) {
	i := c.findAsk(e.ask)
	if i < 0 {
		return
	}
	a := c.takeAsk(i)
	switch {
	case a.piece < 0:
		c.layerAgain = t.now() + proofPause
	case a.late:
	case a.after:
		t.notProver(c)
		t.proofFailed(&a, true)
	case t.hasSent(c, a.piece):
		a.after, a.sent = true, t.now()
		t.sendAsk(c, a)
	case !t.owes(c, a.piece):
		a.late, a.refused = true, true // remembered, so that it is not asked soon again
		c.asks = append(c.asks, a)
		t.proofFailed(&a, true)
	case !a.again:
		c.lazy = true
		a.again, a.sent = true, t.now()
		t.sendAsk(c, a)
	default:
		a.wait = true
		c.asks = append(c.asks, a)
		t.askProver(&a)
	}
}

// notProver leaves a peer alone that was of no use for hashes.
func (t *Torrent) notProver(c *peerConn) {
	c.proves = false
	c.proveAgain = t.now() + proofPause
	asks := c.asks
	c.asks = nil
	for _, a := range asks {
		if a.piece < 0 || a.late {
			continue
		}
		late := a
		late.late = true
		c.asks = append(c.asks, late)
		t.proofFailed(&a, true)
	}
}

// proofFailed asks others for leaves that a peer did not prove. Where nobody is
// left who could, and resign says so, the piece is fetched as a whole. Where the
// block is still to come its sender may tell, see proveLate.
func (t *Torrent) proofFailed(a *hashAsk, resign bool) {
	b := t.proofs[a.piece]
	if b == nil || b.whole {
		return
	}
	t.eachBlock(a, func(i int) {
		if !t.anyAsked(a.piece, i) {
			b.asked.Clear(i)
		}
	})
	t.eachBlock(a, func(i int) {
		if b.wanted.Has(i) && !b.known.Has(i) && !b.asked.Has(i) && !b.whole {
			if !t.askAnother(b, a.piece, i, 2) && resign && b.came.Has(i) {
				t.fetchWhole(b, a.piece)
			}
		}
	})
}

// askProver asks a peer that has proven leaves before, if there is one, for
// what another refused for now.
func (t *Torrent) askProver(a *hashAsk) {
	b := t.proofs[a.piece]
	if b == nil || b.whole {
		return
	}
	for _, c := range t.peers {
		if c == nil || !c.proves || !t.canProve(c, a.piece) {
			continue
		}
		t.eachBlock(a, func(i int) {
			if b.wanted.Has(i) && !b.known.Has(i) {
				t.askLeaves(c, b, a.piece, i, 2)
			}
		})
		return
	}
}

// findAsk is the place of the request that an answer is for, or -1.
func (c *peerConn) findAsk(r wire.HashRange) int {
	for i := range c.asks {
		if c.asks[i].HashRange == r {
			return i
		}
	}
	return -1
}

func (c *peerConn) takeAsk(i int) hashAsk {
	a := c.asks[i]
	c.asks = append(c.asks[:i], c.asks[i+1:]...)
	return a
}

// forgetLate drops requests whose answer is not expected any more.
func (c *peerConn) forgetLate(now time.Duration) {
	kept := c.asks[:0]
	for _, a := range c.asks {
		if !a.late || now-a.sent < proofPause {
			kept = append(kept, a)
		}
	}
	c.asks = kept
}

// anyAsked reports whether some peer may still tell a block's leaf.
func (t *Torrent) anyAsked(piece, block int) bool {
	for _, c := range t.peers {
		if c == nil {
			continue
		}
		for i := range c.asks {
			if a := &c.asks[i]; !a.late && a.covers(t, piece, block) {
				return true
			}
		}
	}
	return false
}
