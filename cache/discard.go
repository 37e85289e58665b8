package cache

import (
	"torrentfs/cache/state"
	"torrentfs/metainfo"
)

// Discard forgets the blocks of a piece whose hash was wrong. A verified piece
// stays, and so do blocks that are verified by themselves.
func (s *Store) Discard(piece metainfo.Piece) {
	if !s.guard.enter() {
		return
	}
	defer s.guard.leave()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.states.readable(piece) {
		return
	}
	delete(s.filling, piece)
	delete(s.suspicion.blocks, piece)
	s.stale = s.stale || s.states.inDoubt(piece)
	pb := s.pieces[piece]
	switch {
	case pb == nil:
		s.become(piece, state.Missing)
	case pb.good != nil:
		s.become(piece, state.Partial)
		for b := range pb.state {
			s.discardBlock(pb, b)
		}
	default:
		s.unkeep(pb)
		pb.discarded = true
		pb.bufs = nil
		delete(s.pieces, piece)
		s.become(piece, state.Missing)
	}
}

// DiscardBlock forgets one block, whose own hash was wrong.
func (s *Store) DiscardBlock(b metainfo.Block) {
	piece, block := b.Piece, b.Index
	if !s.guard.enter() {
		return
	}
	defer s.guard.leave()
	s.mu.Lock()
	defer s.mu.Unlock()
	if pb := s.pieces[piece]; pb != nil && !pb.committed {
		s.discardBlock(pb, block)
	}
}

// discardBlock forgets a block that is not verified; mu is held.
func (s *Store) discardBlock(pb *pieceBuf, block int) {
	if pb.isGood(block) {
		return
	}
	s.dropKept(pb, block)
	s.unsuspect(pb.piece, block)
	if pb.state[block] == waiting {
		pb.unwritten--
	}
	pb.state[block] = absent
	pb.bufs[block] = nil
}
