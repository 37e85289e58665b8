package cache

import (
	"cmp"
	"maps"
	"slices"

	"torrentfs/cache/resume"
	"torrentfs/internal/bitset"
	"torrentfs/metainfo"
)

// Blocks of v2 torrents verify by themselves (BEP 52). They can be read before
// their piece is complete, and the resume data remembers them; all else of a
// piece (peers, sendfile, complete files) waits for the piece.

// isGood reports whether a block is verified by itself.
func (pb *pieceBuf) isGood(block int) bool { return pb.good != nil && pb.good.Has(block) }

// beginGood makes room for what is known of blocks that are verified by themselves.
func (pb *pieceBuf) beginGood() {
	pb.good, pb.told = bitset.New(len(pb.state)), bitset.New(len(pb.state))
	pb.sums = make([]uint64, len(pb.state))
}

// CommitBlock makes a block whose own hash was right readable before its piece
// is complete. It is journaled once it is synced. A block that was not put, or
// was discarded meanwhile, is ignored.
//
// It is false, and the block is not committed, if what was hashed may not be what
// is there, as in Commit.
func (s *Store) CommitBlock(b metainfo.Block) bool {
	piece, block := b.Piece, b.Index
	if !s.guard.enter() {
		return true
	}
	defer s.guard.leave()
	summed := s.inMemory(piece, block)
	sum := resume.Checksum(summed)
	s.mu.Lock()
	pb := s.pieces[piece]
	if s.states.readable(piece) || pb == nil || pb.state[block] == absent || pb.isGood(block) {
		s.mu.Unlock()
		return true
	}
	if s.suspected(piece, block) {
		s.mu.Unlock()
		return false
	}
	if pb.good == nil {
		pb.beginGood()
	}
	data := pb.bufs[block]
	pb.sums[block] = 0
	if sameBytes(data, summed) {
		pb.sums[block] = sum
	}
	if pb.state[block] == onDisk {
		s.dropKept(pb, block)
		s.tellLater(piece)
	}
	pb.good.Set(block)
	s.mu.Unlock()
	if data != nil {
		s.cache.mem.add(s.key(piece, block), data, false)
	}
	return true
}

// tellLater has the syncer journal a piece's blocks; mu is held.
func (s *Store) tellLater(piece int) {
	if len(s.untold) == 0 {
		signal(s.sync.sealKick)
	}
	s.untold[piece] = struct{}{}
}

// HasBlock reports whether a block is verified, by itself or with its piece. It
// is false for blocks that do not exist.
func (s *Store) HasBlock(b metainfo.Block) bool {
	piece, block := b.Piece, b.Index
	if s.states.readable(piece) {
		return true
	}
	if !s.states.incomplete(piece) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	pb := s.pieces[piece]
	return pb != nil && block < len(pb.state) && pb.isGood(block) || s.states.readable(piece)
}

// Ready reports whether the n bytes at off are verified, as far as they lie in
// the piece space.
func (s *Store) Ready(off int64, n int) bool {
	return off >= 0 && s.available(off, n) == n
}

// Blocks yields the pieces that are not verified and have blocks that are, in
// ascending order; block i is bit i%64 of word i/64. What it yields is a copy.
func (s *Store) Blocks(yield func(piece metainfo.Piece, blocks []uint64) bool) {
	for _, x := range s.goodBlocks() {
		if !yield(x.piece, x.blocks) {
			return
		}
	}
}

// pieceBlocks is a set of blocks of one piece.
type pieceBlocks struct {
	piece  int
	blocks bitset.Set
}

func (s *Store) goodBlocks() (out []pieceBlocks) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for piece, pb := range s.pieces {
		if pb.good != nil && !pb.committed {
			out = append(out, pieceBlocks{piece, pb.good.Clone()})
		}
	}
	slices.SortFunc(out, func(a, b pieceBlocks) int { return cmp.Compare(a.piece, b.piece) })
	return out
}

// availableBlocks is how many of the bytes from off to end, which lie in one
// piece that is not verified, are verified by themselves.
func (s *Store) availableBlocks(piece int, off, end int64) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	pb := s.pieces[piece]
	if pb == nil || pb.good == nil {
		return 0
	}
	at := off
	for at < end {
		_, block, _, n, next := s.lay.at(at)
		if n == 0 || !pb.good.Has(block) {
			break
		}
		at = min(next, end)
	}
	return at - off
}

// takeUntold lists the blocks that are written and not journaled; mu is held.
func (y *syncer) takeUntold() (blocks []resume.VerifiedBlock) {
	s := y.s
	for _, piece := range slices.Sorted(maps.Keys(s.untold)) {
		pb := s.pieces[piece]
		if pb == nil || pb.good == nil || pb.committed {
			continue // it is journaled as a piece
		}
		for b := range pb.state {
			if pb.good.Has(b) && pb.state[b] == onDisk && !pb.told.Has(b) {
				blocks = append(blocks, resume.VerifiedBlock{Block: metainfo.Block{Piece: piece, Index: b}, Sum: pb.sums[b]})
			}
		}
	}
	clear(s.untold)
	return blocks
}

// told notes that the journal knows of blocks; mu is held.
func (y *syncer) told(blocks []resume.VerifiedBlock) {
	s := y.s
	for _, x := range blocks {
		if pb := s.pieces[x.Piece]; pb != nil && pb.told != nil && pb.good.Has(x.Index) {
			pb.told.Set(x.Index)
		}
	}
}

// toldBlocks are the blocks that a snapshot may vouch for; mu is held.
func (s *Store) toldBlocks() map[int]resume.BlockSums {
	out := map[int]resume.BlockSums{}
	for piece, pb := range s.pieces {
		if pb.told == nil || pb.committed || pb.told.Empty() {
			continue
		}
		out[piece] = make(resume.BlockSums)
		for b := range pb.state {
			if pb.told.Has(b) {
				out[piece][b] = pb.sums[b]
			}
		}
	}
	return out
}

// invalidateBlocks withdraws the trust in the blocks of a piece that lie on disk and
// are verified by themselves; mu is held.
func (s *Store) invalidateBlocks(piece int) (any bool) {
	pb := s.pieces[piece]
	if pb == nil || pb.good == nil {
		return false
	}
	for b := range pb.state {
		if pb.good.Has(b) && pb.state[b] == onDisk {
			pb.good.Clear(b)
			pb.told.Clear(b)
			any = true
		}
	}
	return any
}
