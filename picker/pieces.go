package picker

import (
	"math/rand/v2"

	"torrentfs/internal/bitset"
	"torrentfs/metainfo"
)

// pieces is how far the torrent is: which pieces are held, which are started and which are fresh, and what of them is wanted.
// Each piece is in one of these states; a fresh one is in the rarest-first order if it is wanted, a started one is in open if it is
// wanted and has free blocks.
type pieces struct {
	geometry

	state   []int32 // of each piece: stateFresh, stateHeld, stateVirtual or an index into parts
	heldSet bitset.Set
	nheld   int
	want    bitset.Set
	fresh   rarest

	parts     []*partial
	freeParts []int32
	started   int
	open      []*partial // wanted ones with free blocks

	failed map[metainfo.Piece]retry
	whole  bitset.Set // pieces whose leaves cannot be proven; nil: none
}

func (ps *pieces) init(g geometry) {
	*ps = pieces{
		geometry: g,
		state:    make([]int32, g.NumPieces()),
		heldSet:  bitset.New(g.NumPieces()),
		want:     bitset.New(g.NumPieces()),
		failed:   map[metainfo.Piece]retry{},
	}
	for i := range ps.state {
		ps.state[i] = stateFresh
	}
	for _, v := range g.VirtualBlocks() {
		ps.state[v.Piece] = ps.restState(v.Piece)
	}
	ps.fresh.init(g.NumPieces())
}

// setWant replaces what is wanted: pieces that touch a range.
func (ps *pieces) setWant(rng *rand.Rand, ranges []metainfo.ByteRange) {
	clear(ps.want)
	for _, r := range ranges {
		if off, end := ps.clip(r); off < end {
			ps.want.SetRange(ps.PieceOf(off), ps.PieceOf(end-1)+1)
		}
	}
	ps.fresh.rebuild(rng, func(piece metainfo.Piece) bool { return ps.state[piece] == stateFresh && ps.want.Has(piece) })
	for piece, s := range ps.state {
		if s < 0 {
			continue
		}
		if pt := ps.parts[s]; ps.want.Has(piece) {
			ps.list(pt)
		} else {
			ps.unlist(pt)
		}
	}
}

// setHeld makes a piece held. The caller has cancelled its requests.
func (ps *pieces) setHeld(piece metainfo.Piece) {
	ps.fresh.remove(piece)
	if pt := ps.part(piece); pt != nil {
		ps.retire(pt, ps.state[piece])
	}
	ps.state[piece] = stateHeld
	ps.heldSet.Set(piece)
	ps.nheld++
	delete(ps.failed, piece)
	if ps.whole != nil {
		ps.whole.Clear(piece)
	}
}

// setLost makes a held piece fresh.
func (ps *pieces) setLost(piece metainfo.Piece) {
	ps.nheld--
	ps.heldSet.Clear(piece)
	ps.state[piece] = ps.restState(piece)
	if ps.state[piece] == stateFresh && ps.want.Has(piece) {
		ps.fresh.insert(piece)
	}
}

// restState is the state of a piece of which nothing is received.
func (ps *pieces) restState(piece metainfo.Piece) int32 {
	n := 0
	for _, v := range ps.virtualOf(piece) {
		n += v.Count
	}
	if n >= ps.NumBlocks(piece) {
		return stateVirtual
	}
	return stateFresh
}

// busy reports whether the background download has anything to request.
func (ps *pieces) busy() bool { return len(ps.open) > 0 || ps.fresh.len() > 0 }

// byLeaves reports whether the blocks of a piece serve reads one by one.
func (ps *pieces) byLeaves(piece metainfo.Piece) bool {
	return ps.leaves && (ps.whole == nil || !ps.whole.Has(piece))
}

// hasFree reports whether a piece has a block that is neither held nor requested.
func (ps *pieces) hasFree(piece metainfo.Piece) bool {
	switch s := ps.state[piece]; {
	case s >= 0:
		return ps.parts[s].free > 0
	default:
		return s == stateFresh
	}
}

// nextFree returns a piece's first free block from a block on, or -1; the piece may be fresh.
func (ps *pieces) nextFree(piece metainfo.Piece, from int) int {
	blocks := ps.NumBlocks(piece)
	if from >= blocks {
		return -1
	}
	if pt := ps.part(piece); pt != nil {
		return pt.nextFree(from, blocks)
	}
	if ps.state[piece] != stateFresh {
		return -1
	}
	for _, v := range ps.virtualOf(piece) {
		if from >= v.First && from < v.First+v.Count {
			from = v.First + v.Count
		}
	}
	if from >= blocks {
		return -1
	}
	return from
}
