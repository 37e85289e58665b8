package picker

import (
	"time"

	"torrentfs/metainfo"
)

// Verified tells the outcome of a piece's hash. If it failed, all its blocks are free again, and the piece is fetched from a
// single peer next, so that the caller's smart ban knows whom a second failure is to be blamed on. A piece found on disk may be
// reported verified at any time.
func (p *Picker) Verified(now time.Duration, piece metainfo.Piece, ok bool) {
	p.clock(now)
	if !p.pieces.hasPiece(piece) {
		return
	}
	if ok {
		p.setHeld(piece)
		return
	}
	if p.pieces.held(piece) {
		p.Lost(now, piece)
		return
	}
	pt := p.pieces.part(piece)
	if pt == nil || pt.left > 0 {
		return
	}
	p.pieces.noteFailure(pt)
	p.refetch(pt)
}

func (p *Picker) setHeld(piece metainfo.Piece) {
	if p.pieces.held(piece) {
		return
	}
	if pt := p.pieces.part(piece); pt != nil {
		p.cancelPiece(pt)
	}
	p.pieces.setHeld(piece)
	for _, pr := range p.peers.list {
		if pr.seed {
			if p.pieces.nheld == p.pieces.NumPieces() {
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
	for _, pr := range p.peers.list {
		for i := pr.ring.n - 1; i >= 0; i-- {
			if x := pr.ring.at(i); x.live() {
				if piece, _ := p.pieces.split(x.block); piece == pt.piece {
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
	p.pieces.resetBlocks(pt)
	pt.sole, pt.owner = false, -1
	if _, ok := p.pieces.failed[pt.piece]; ok {
		pt.sole = true
	}
	p.pieces.list(pt)
	p.freed(pt.piece)
	p.readers.rewindReads(&p.pieces, pt.piece)
	p.pieces.unstart(pt)
}

// LeafVerified tells the outcome of a block's leaf hash (BEP 52). A good block serves reads at once. A bad one is free
// again.
func (p *Picker) LeafVerified(now time.Duration, block metainfo.Block, ok bool) {
	p.clock(now)
	if !p.pieces.leaves || !p.pieces.hasBlock(block) {
		return
	}
	piece, index := block.Piece, block.Index
	pt := p.pieces.part(piece)
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
	p.pieces.free(pt)
	p.freed(piece)
}

// Lost tells that a piece is no longer held: evicted, or found wrong on disk.
func (p *Picker) Lost(now time.Duration, piece metainfo.Piece) {
	p.clock(now)
	if !p.pieces.hasPiece(piece) {
		return
	}
	if pt := p.pieces.part(piece); pt != nil {
		p.refetch(pt)
		return
	}
	if !p.pieces.held(piece) {
		return
	}
	p.pieces.setLost(piece)
	for _, pr := range p.peers.list {
		if !pr.seed && pr.have.Has(piece) {
			pr.missing++
		}
		p.updateInterest(pr)
	}
	p.freed(piece)
	p.readers.rewindReads(&p.pieces, piece)
}
