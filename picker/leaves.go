package picker

import (
	"time"

	"torrentfs/internal/bitset"
	"torrentfs/metainfo"
)

// Whole tells that nobody proves the leaves of a piece: reads of it wait for all its blocks, as if only pieces verified. What is
// leaf-verified already stays so. It holds until the piece is verified.
func (p *Picker) Whole(now time.Duration, piece metainfo.Piece) {
	p.clock(now)
	if !p.pieces.leaves || !p.pieces.hasPiece(piece) || p.pieces.held(piece) {
		return
	}
	if p.pieces.whole == nil {
		p.pieces.whole = bitset.New(p.pieces.NumPieces())
	}
	p.pieces.whole.Set(piece)
	p.plan.stale, p.plan.blocked, p.wake = true, true, true
}

// Adopt tells of a block that is held and verified by itself although no peer sent it just now: found on disk, for one.
func (p *Picker) Adopt(now time.Duration, block metainfo.Block) {
	p.clock(now)
	if !p.pieces.leaves || !p.pieces.hasBlock(block) {
		return
	}
	piece, index := block.Piece, block.Index
	if s := p.pieces.state[piece]; s == stateHeld || s == stateVirtual {
		return
	}
	pt := p.pieces.start(piece)
	if !pt.have.Has(index) {
		p.keep(pt, index)
	}
	pt.leaf.Set(index)
	p.serve(piece)
}

// Owes reports whether a block is requested from a peer and not cancelled, answered or given up.
func (p *Picker) Owes(id PeerID, block metainfo.Block) bool {
	pr := p.peers.table.get(id)
	if pr == nil || !p.pieces.hasBlock(block) {
		return false
	}
	i := pr.ring.find(p.pieces.id(block.Piece, block.Index))
	return i >= 0 && pr.ring.at(i).live()
}
