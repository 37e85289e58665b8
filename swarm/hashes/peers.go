package hashes

import (
	"slices"
	"time"

	"torrentfs/metainfo"
	"torrentfs/swarm/wire"
)

// find returns the place of the request that an answer is for, or -1.
func (p *peer) find(r wire.HashRange) int {
	return slices.IndexFunc(p.asks, func(a ask) bool { return a.HashRange == r })
}

func (p *peer) take(i int) ask {
	a := p.asks[i]
	p.asks = slices.Delete(p.asks, i, i+1)
	return a
}

// dropGivenUp forgets an earlier request for the same that was given up, since
// an answer would be taken for that one's.
func (p *peer) dropGivenUp(r wire.HashRange) {
	p.asks = slices.DeleteFunc(p.asks, func(a ask) bool { return a.state.givenUp() && a.HashRange == r })
}

// isAsked reports whether the peer has been asked for a block's leaf; those
// that were given up count if givenUp is set.
func (p *peer) isAsked(b metainfo.Block, givenUp bool) bool {
	for i := range p.asks {
		if a := &p.asks[i]; a.covers(b) && (givenUp || !a.state.givenUp()) {
			return true
		}
	}
	return false
}

// canProve reports whether a peer may be asked for the leaves of a piece.
func (k *Asker) canProve(now time.Duration, p *peer, piece metainfo.Piece) bool {
	return p.V2 && k.facts.Has(p.id, piece) && now >= p.leavesAt && len(p.asks) < maxAsks
}

// send sends a new request.
func (k *Asker) send(now time.Duration, p *peer, a ask) {
	a.sent = now
	p.dropGivenUp(a.HashRange)
	p.asks = append(p.asks, a)
	k.act(Action{Kind: Ask, Peer: p.id, Range: a.HashRange})
}

// askLeaves asks a peer for leaves of n blocks, of which b is one, unless it was
// asked already. A request that is held is sent later.
func (k *Asker) askLeaves(now time.Duration, p *peer, l *leaves, b metainfo.Block, n int, s state) {
	if p.isAsked(b, false) {
		return
	}
	a := ask{HashRange: k.trees.leafRange(l.file, b, n), file: l.file, piece: b.Piece, state: s}
	a.blocks(func(b metainfo.Block) { l.asked.Set(b.Index) })
	if s != held {
		k.send(now, p, a)
		return
	}
	a.due = now + lazyPause
	p.asks = append(p.asks, a)
	k.due = min(k.due, a.due)
}

// askSender asks the peer that is to send a block for its leaf: at once, so that
// both come together; a lazy one when it has had time to read the block, which
// it does long before it sends it.
func (k *Asker) askSender(now time.Duration, p *peer, l *leaves, b metainfo.Block, n int) {
	s := asked
	if p.lazy && !k.facts.Sent(p.id, b.Piece) {
		s = held
	}
	k.askLeaves(now, p, l, b, n, s)
}

// askAnother asks the peer that can prove a block's leaf soonest, and reports
// whether there was any: first those that have read of the piece already.
func (k *Asker) askAnother(now time.Duration, l *leaves, b metainfo.Block, n int) bool {
	var best *peer
	most := 0
	k.each(func(p *peer) {
		if !k.canProve(now, p, b.Piece) || p.isAsked(b, true) {
			return
		}
		rank := 0
		if k.facts.Sent(p.id, b.Piece) {
			rank = 2
		}
		if p.proves {
			rank++
		}
		if best == nil || rank > most || rank == most && p.RTT < best.RTT {
			best, most = p, rank
		}
	})
	if best == nil {
		return false
	}
	k.askLeaves(now, best, l, b, n, asked)
	return true
}

// askProver asks a peer that has proven leaves before, if there is one, for
// what another rejected for now.
func (k *Asker) askProver(now time.Duration, a *ask) {
	l := k.pieces[a.piece]
	if l == nil || l.whole {
		return
	}
	i := slices.IndexFunc(k.peers, func(p *peer) bool { return p != nil && p.proves && k.canProve(now, p, a.piece) })
	if i < 0 {
		return
	}
	a.blocks(func(b metainfo.Block) {
		if l.lacks(b.Index) {
			k.askLeaves(now, k.peers[i], l, b, 2, asked)
		}
	})
}

// askOthers asks others for leaves that a peer did not prove. If nobody is left
// who could, and resign is set, the piece is fetched as a whole. If the block is
// still to come its sender may tell, see BlockCame.
func (k *Asker) askOthers(now time.Duration, a *ask, resign bool) {
	l := k.pieces[a.piece]
	if l == nil || l.whole {
		return
	}
	a.blocks(func(b metainfo.Block) {
		if !k.anyAsked(b) {
			l.asked.Clear(b.Index)
		}
	})
	a.blocks(func(b metainfo.Block) {
		if l.lacks(b.Index) && !l.asked.Has(b.Index) && !l.whole {
			if !k.askAnother(now, l, b, 2) && resign && l.came.Has(b.Index) {
				k.fetchWhole(l, a.piece)
			}
		}
	})
}

// anyAsked reports whether some peer may still tell a block's leaf.
func (k *Asker) anyAsked(b metainfo.Block) bool {
	return slices.ContainsFunc(k.peers, func(p *peer) bool { return p != nil && p.isAsked(b, false) })
}

// giveUpPeer leaves a peer alone that was of no use for hashes.
func (k *Asker) giveUpPeer(now time.Duration, p *peer) {
	p.proves = false
	p.leavesAt = now + proofPause
	var lost []ask
	p.asks = slices.DeleteFunc(p.asks, func(a ask) bool {
		if transitions[a.state][peerGivenUp].do&askOthers != 0 {
			lost = append(lost, a)
		}
		return transitions[a.state][peerGivenUp].next == gone
	})
	for i := range p.asks {
		a := &p.asks[i]
		a.state, a.due = transitions[a.state][peerGivenUp].next, 0
	}
	for i := range lost {
		k.askOthers(now, &lost[i], true)
	}
}

// hurry looks for a peer's proofs that are overdue although their block is here.
func (k *Asker) hurry(now time.Duration, p *peer) {
	for i := range p.asks {
		a := &p.asks[i]
		if a.state.givenUp() || a.piece == noPiece || now-a.sent < proofPatience+3*p.RTT {
			continue
		}
		l := k.pieces[a.piece]
		if l == nil || l.whole {
			continue
		}
		a.blocks(func(b metainfo.Block) {
			if l.lacks(b.Index) && l.came.Has(b.Index) && now-k.askedLast(b) >= proofPatience {
				k.askAnother(now, l, b, 2)
			}
		})
	}
}

// askedLast is when a block's leaf was last asked for.
func (k *Asker) askedLast(b metainfo.Block) (at time.Duration) {
	k.each(func(p *peer) {
		for i := range p.asks {
			if a := &p.asks[i]; a.covers(b) {
				at = max(at, a.sent)
			}
		}
	})
	return at
}
