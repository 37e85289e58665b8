package cache

import (
	"torrentfs/cache/resume"
	"torrentfs/cache/state"
)

// restoreBlocks takes over what a snapshot tells of a piece, as far as the files
// reach, and reports whether that is all of it. Of files that are not trusted it
// takes those whose checksums are right, and no more of them than scanBytes:
// it is called at opening, and a user waits.
func (c *scan) restoreBlocks(piece int, blocks resume.BlockSums, trusted bool) (some, all bool) {
	s := c.s
	n := s.lay.geo.NumBlocks(piece)
	pb := &pieceBuf{piece: piece, bufs: make([][]byte, n), state: make([]blockState, n)}
	pb.beginGood()
	all = true
	for b := range n {
		sum, told := blocks[b]
		if !told || !c.reaches(piece, b) || !trusted && !c.readsAs(piece, b, sum) {
			all = false
			continue
		}
		pb.state[b] = onDisk
		pb.good.Set(b)
		pb.told.Set(b)
		pb.sums[b] = sum
		some = true
	}
	if some {
		s.pieces[piece] = pb
		s.states.set(piece, state.Partial)
	}
	return some, all
}

// readsAs reports whether a block on disk has a checksum.
func (c *scan) readsAs(piece, block int, sum uint64) bool {
	s := c.s
	off, n := s.lay.block(piece, block)
	if c.look.budget -= int64(n); c.look.budget < 0 || sum == 0 {
		return false
	}
	b := make([]byte, n)
	return s.readDisk(b, off) == nil && resume.Checksum(b) == sum
}

// reaches reports whether the files are long enough for a block.
func (c *scan) reaches(piece, block int) bool {
	s := c.s
	off, n := s.lay.block(piece, block)
	for p := range s.lay.parts(off, int64(n)) {
		if p.file >= 0 && s.stats[p.file].Size < p.at+p.n {
			return false
		}
	}
	return true
}
