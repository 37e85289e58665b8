package picker

import (
	"math/bits"
	"slices"
	"sort"

	"torrentfs/internal/bitset"
	"torrentfs/metainfo"
)

// States of a piece in pieces.state, else it is an index into pieces.parts.
const (
	stateFresh   int32 = -1 // nothing of it is received or requested
	stateHeld    int32 = -2 // verified
	stateVirtual int32 = -3 // all zeros: nothing to request, waits for Verified
)

// maxHolders is how many peers may owe us one block at once.
const maxHolders = 3

// maxSources is how many contributors of a piece are remembered; later ones are not.
const maxSources = 6

// partial is a started piece. Its bitsets come from a pool, sized by the blocks of a full piece.
type partial struct {
	piece  metainfo.Piece
	blocks int32
	zeros  int32      // virtual blocks among them
	free   int32      // blocks neither held nor requested
	left   int32      // blocks not held
	open   int32      // place in pieces.open, or -1
	live   int32      // requests outstanding, cancelled ones aside
	have   bitset.Set // received or virtual
	req    [maxHolders]bitset.Set
	leaf   bitset.Set // leaf-verified (LeafVerified geometries)

	words []uint64 // backing of the bitsets

	owner PeerID // if sole: the one peer to ask, or -1
	sole  bool   // an earlier try failed its hash: fetch it from one peer, so that the next failure has one suspect

	mark    uint32 // of the last urgent plan that counted it
	nsource int8   // contributors remembered
	source  [maxSources]PeerID
}

func (ps *pieces) part(piece metainfo.Piece) *partial {
	if s := ps.state[piece]; s >= 0 {
		return ps.parts[s]
	}
	return nil
}

func (ps *pieces) held(piece metainfo.Piece) bool { return ps.state[piece] == stateHeld }

// virtualOf returns the virtual ranges of a piece.
func (ps *pieces) virtualOf(piece metainfo.Piece) []metainfo.BlockRange {
	v := ps.VirtualBlocks()
	if len(v) == 0 {
		return nil
	}
	lo := sort.Search(len(v), func(i int) bool { return v[i].Piece >= piece })
	hi := lo
	for hi < len(v) && v[hi].Piece == piece {
		hi++
	}
	return v[lo:hi]
}

// virtual reports whether a block is zeros.
func (ps *pieces) virtual(piece metainfo.Piece, block int) bool {
	for _, v := range ps.virtualOf(piece) {
		if block >= v.First && block < v.First+v.Count {
			return true
		}
	}
	return false
}

// start makes a partial of a fresh piece.
func (ps *pieces) start(piece metainfo.Piece) *partial {
	if pt := ps.part(piece); pt != nil {
		return pt
	}
	ps.fresh.remove(piece)
	var pt *partial
	if n := len(ps.freeParts); n > 0 {
		ps.state[piece] = ps.freeParts[n-1]
		ps.freeParts = ps.freeParts[:n-1]
		pt = ps.parts[ps.state[piece]]
	} else {
		ps.state[piece] = int32(len(ps.parts))
		pt = ps.newPartial()
		ps.parts = append(ps.parts, pt)
	}
	pt.piece, pt.blocks = piece, int32(ps.NumBlocks(piece))
	pt.open, pt.live, pt.mark = -1, 0, 0
	pt.sole, pt.owner = false, -1
	if _, ok := ps.failed[piece]; ok {
		pt.sole = true
	}
	ps.resetBlocks(pt)
	ps.started++
	ps.list(pt)
	return pt
}

func (ps *pieces) newPartial() *partial {
	w := (ps.BlocksPerPiece() + 63) / 64
	sets := 1 + maxHolders
	if ps.leaves {
		sets++
	}
	pt := &partial{words: make([]uint64, sets*w)}
	pt.have = pt.words[:w:w]
	for i := range pt.req {
		pt.req[i] = pt.words[(1+i)*w : (2+i)*w : (2+i)*w]
	}
	if ps.leaves {
		pt.leaf = pt.words[(1+maxHolders)*w:]
	}
	return pt
}

// resetBlocks forgets all data and requests of a piece: every block but the virtual ones is free.
func (ps *pieces) resetBlocks(pt *partial) {
	clear(pt.words)
	pt.zeros, pt.nsource = 0, 0
	for _, v := range ps.virtualOf(pt.piece) {
		for b := v.First; b < v.First+v.Count && b < int(pt.blocks); b++ {
			if !pt.have.Has(b) {
				pt.have.Set(b)
				pt.zeros++
			}
			if pt.leaf != nil {
				pt.leaf.Set(b)
			}
		}
	}
	pt.free = pt.blocks - pt.zeros
	pt.left = pt.free
}

// retire gives a partial back to the pool; the caller has set the piece's state.
func (ps *pieces) retire(pt *partial, index int32) {
	ps.unlist(pt)
	ps.freeParts = append(ps.freeParts, index)
	ps.started--
}

// unstart makes a partial fresh again where nothing of it is held or requested.
func (ps *pieces) unstart(pt *partial) {
	if pt.live > 0 || pt.left < pt.blocks-pt.zeros {
		return
	}
	piece := pt.piece
	i := ps.state[piece]
	ps.state[piece] = stateFresh
	ps.retire(pt, i)
	if ps.want.Has(piece) {
		ps.fresh.insert(piece)
	}
}

// list puts a wanted partial that has free blocks where the background picker finds it.
func (ps *pieces) list(pt *partial) {
	if pt.open < 0 && pt.free > 0 && ps.want.Has(pt.piece) {
		pt.open = int32(len(ps.open))
		ps.open = append(ps.open, pt)
	}
}

func (ps *pieces) unlist(pt *partial) {
	if pt.open < 0 {
		return
	}
	last := ps.open[len(ps.open)-1]
	ps.open[pt.open] = last
	last.open = pt.open
	ps.open = ps.open[:len(ps.open)-1]
	pt.open = -1
}

// holders is how many live requests a block has.
func (pt *partial) holders(b int) int {
	for n := range pt.req {
		if !pt.req[n].Has(b) {
			return n
		}
	}
	return maxHolders
}

func (ps *pieces) hold(pt *partial, b int) {
	n := pt.holders(b)
	pt.req[n].Set(b)
	pt.live++
	if n == 0 && !pt.have.Has(b) {
		if pt.free--; pt.free == 0 {
			ps.unlist(pt)
		}
	}
}

// unhold takes one live request off a block and reports whether the block is free now. It may make the piece fresh again, so pt
// must not be used after it.
func (ps *pieces) unhold(pt *partial, b int) (freed bool) {
	n := pt.holders(b)
	pt.req[n-1].Clear(b)
	pt.live--
	if n > 1 || pt.have.Has(b) {
		return false
	}
	ps.free(pt)
	return true
}

// free counts a block of pt that became free; pt must not be used after it.
func (ps *pieces) free(pt *partial) {
	pt.free++
	ps.list(pt)
	ps.unstart(pt)
}

// nextFree returns the first free block at or after from and before end, or -1.
func (pt *partial) nextFree(from, end int) int {
	if pt.free == 0 {
		return -1
	}
	for w := from >> 6; w<<6 < end; w++ {
		free := ^(pt.have[w] | pt.req[0][w])
		if w == from>>6 {
			free &= ^uint64(0) << (uint(from) & 63)
		}
		if free != 0 {
			if b := w<<6 + bits.TrailingZeros64(free); b < end {
				return b
			}
			return -1
		}
	}
	return -1
}

// countFree counts the free blocks in [from, end).
func (pt *partial) countFree(from, end int) int {
	if from == 0 && end == int(pt.blocks) {
		return int(pt.free)
	}
	n := 0
	for w := from >> 6; w<<6 < end; w++ {
		free := ^(pt.have[w] | pt.req[0][w])
		if w == from>>6 {
			free &= ^uint64(0) << (uint(from) & 63)
		}
		if rest := end - w<<6; rest < 64 {
			free &= 1<<uint(rest) - 1
		}
		n += bits.OnesCount64(free)
	}
	return n
}

// addSource remembers who supplied a piece.
func (pt *partial) addSource(id PeerID) {
	if int(pt.nsource) == maxSources || slices.Contains(pt.source[:pt.nsource], id) {
		return
	}
	pt.source[pt.nsource] = id
	pt.nsource++
}
