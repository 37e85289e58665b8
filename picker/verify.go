package picker

import (
	"time"

	"torrentfs/metainfo"
)

// retry is what is known of a piece that failed its hash.
type retry struct {
	sources []PeerID // who contributed to the failed tries
}

// Verified tells the outcome of a piece's hash. If it failed, all its blocks are free again, and the piece is fetched from a
// single peer next, so that the caller's smart ban knows whom a second failure is to be blamed on. A piece found on disk may be
// reported verified at any time.
func (p *Picker) Verified(now time.Duration, piece metainfo.Piece, ok bool) {
	p.clock(now)
	if !p.g.hasPiece(piece) {
		return
	}
	if ok {
		p.setHeld(piece)
		return
	}
	if p.held(piece) {
		p.Lost(now, piece)
		return
	}
	pt := p.part(piece)
	if pt == nil || pt.left > 0 {
		return
	}
	r := p.failed[piece]
	r.sources = append(r.sources, pt.source[:pt.nsource]...)
	if len(r.sources) > 4*maxSources {
		r.sources = r.sources[len(r.sources)-4*maxSources:]
	}
	p.failed[piece] = r
	p.refetch(pt)
}

func (p *Picker) setHeld(piece metainfo.Piece) {
	if p.held(piece) {
		return
	}
	p.fresh.remove(piece)
	if pt := p.part(piece); pt != nil {
		index := p.state[piece]
		p.cancelPiece(pt)
		p.state[piece] = stateHeld
		p.retire(pt, index)
	}
	p.state[piece] = stateHeld
	p.heldSet.Set(piece)
	p.nheld++
	delete(p.failed, piece)
	if p.whole != nil {
		p.whole.Clear(piece)
	}
	for _, pr := range p.peers {
		if pr.seed {
			if p.nheld == p.g.NumPieces() {
				p.updateInterest(pr)
			}
		} else if pr.have.Has(piece) {
			pr.missing--
			p.updateInterest(pr)
		}
	}
	p.serve(piece)
}

// cancelPiece cancels all requests for a piece. The piece stays started.
func (p *Picker) cancelPiece(pt *partial) {
	if pt.live == 0 {
		return
	}
	pt.live++ // keeps it from becoming fresh on the way
	for _, pr := range p.peers {
		for i := pr.ring.n - 1; i >= 0; i-- {
			if x := pr.ring.at(i); x.live() {
				if piece, _ := p.g.split(x.block); piece == pt.piece {
					p.cancel(pr, i)
					p.touch(pr)
				}
			}
		}
	}
	pt.live--
}

// refetch frees all blocks of a piece whose data is gone or worthless.
func (p *Picker) refetch(pt *partial) {
	p.cancelPiece(pt)
	p.resetBlocks(pt)
	pt.sole, pt.owner = false, -1
	if _, ok := p.failed[pt.piece]; ok {
		pt.sole = true
	}
	p.list(pt)
	p.rewindReaders(pt.piece)
	p.urgentDirty, p.wake = true, true
	p.rewindReads(pt.piece)
	p.unstart(pt)
}

// LeafVerified tells the outcome of a block's leaf hash (BEP 52). A good block serves reads at once. A bad one is free
// again.
func (p *Picker) LeafVerified(now time.Duration, block metainfo.Block, ok bool) {
	p.clock(now)
	if !p.g.leaves || !p.g.hasBlock(block) {
		return
	}
	piece, index := block.Piece, block.Index
	pt := p.part(piece)
	if pt == nil || !pt.have.Has(index) {
		return
	}
	if ok {
		if !pt.leaf.Has(index) {
			pt.leaf.Set(index)
			p.serve(piece)
		}
		return
	}
	if pt.leaf.Has(index) {
		return
	}
	pt.have.Clear(index)
	pt.left++
	p.freed(pt)
}

// Lost tells that a piece is no longer held: evicted, or found wrong on disk.
func (p *Picker) Lost(now time.Duration, piece metainfo.Piece) {
	p.clock(now)
	if !p.g.hasPiece(piece) {
		return
	}
	if pt := p.part(piece); pt != nil {
		p.refetch(pt)
		return
	}
	if !p.held(piece) {
		return
	}
	p.nheld--
	p.heldSet.Clear(piece)
	p.state[piece] = p.restState(piece)
	if p.state[piece] == stateFresh && p.want.Has(piece) {
		p.fresh.insert(piece)
	}
	for _, pr := range p.peers {
		if !pr.seed && pr.have.Has(piece) {
			pr.missing++
		}
		p.updateInterest(pr)
	}
	p.rewindReaders(piece)
	p.rewindReads(piece)
	p.urgentDirty, p.wake = true, true
}

// rewindReads has reads that have passed a piece wait for it again.
func (p *Picker) rewindReads(piece metainfo.Piece) {
	for _, r := range p.reads {
		if first := p.g.PieceOf(r.off); piece >= first && piece <= r.piece {
			r.piece, r.block = piece, 0
			if piece == first {
				r.block = int(r.off % p.g.PieceLength() / BlockSize)
			}
			p.reserve.dirty = true
		}
	}
}

// restState is the state of a piece of which nothing is received.
func (p *Picker) restState(piece metainfo.Piece) int32 {
	n := 0
	for _, v := range p.virtualOf(piece) {
		n += v.Count
	}
	if n >= p.g.NumBlocks(piece) {
		return stateVirtual
	}
	return stateFresh
}

// mayRetry reports whether a peer may be asked for a block of a piece that failed its hash before: only the one that began the new
// try, while it lives; first choice are peers that had no part in the failures.
func (p *Picker) mayRetry(pr *peer, piece metainfo.Piece) bool {
	r, ok := p.failed[piece]
	if !ok {
		return true
	}
	if pt := p.part(piece); pt != nil && pt.owner >= 0 {
		owner := p.table.get(pt.owner)
		if owner != nil && !owner.suspect && owner.serves(piece) {
			return owner == pr
		}
		pt.owner = -1
	}
	if !r.blames(pr.id) {
		return true
	}
	for _, q := range p.peers {
		if !r.blames(q.id) && !q.suspect && q.serves(piece) {
			return false
		}
	}
	return true
}

func (r *retry) blames(id PeerID) bool {
	for _, s := range r.sources {
		if s == id {
			return true
		}
	}
	return false
}
