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
	if !p.g.leaves || !p.g.hasPiece(piece) || p.held(piece) {
		return
	}
	if p.whole == nil {
		p.whole = bitset.New(p.g.NumPieces())
	}
	p.whole.Set(piece)
	p.urgentDirty, p.urgentNew, p.wake = true, true, true
}

// byLeaves reports whether the blocks of a piece serve reads one by one.
func (p *Picker) byLeaves(piece metainfo.Piece) bool {
	return p.g.leaves && (p.whole == nil || !p.whole.Has(piece))
}

// Adopt tells of a block that is held and verified by itself although no peer sent it just now: found on disk, for one.
func (p *Picker) Adopt(now time.Duration, block metainfo.Block) {
	p.clock(now)
	if !p.g.leaves || !p.g.hasBlock(block) {
		return
	}
	piece, index := block.Piece, block.Index
	if s := p.state[piece]; s == stateHeld || s == stateVirtual {
		return
	}
	pt := p.start(piece)
	if !pt.have.Has(index) {
		p.keep(pt, index)
	}
	pt.leaf.Set(index)
	p.serve(piece)
}

// Owes reports whether a block is requested from a peer and not cancelled, answered or given up.
func (p *Picker) Owes(id PeerID, block metainfo.Block) bool {
	pr := p.table.get(id)
	if pr == nil || !p.g.hasBlock(block) {
		return false
	}
	i := pr.ring.find(p.g.id(block.Piece, block.Index))
	return i >= 0 && pr.ring.at(i).live()
}
