package cache

import (
	"fmt"
	"sync/atomic"

	"torrentfs/cache/state"
	"torrentfs/internal/bitset"
	"torrentfs/metainfo"
)

// pieceStates are the states of all pieces, four bits each. They are read without a lock, and change
// while the store's mu is held.
type pieceStates []atomic.Uint64

func newPieceStates(n int) pieceStates { return make(pieceStates, (n+15)/16) }

func (t pieceStates) get(p metainfo.Piece) state.Piece {
	return state.Piece(t[uint(p)>>4].Load() >> (uint(p) & 15 << 2) & 15)
}

// set is for the states at the start; later they change by [Store.become].
func (t pieceStates) set(p metainfo.Piece, to state.Piece) {
	w, shift := &t[uint(p)>>4], uint(p)&15<<2
	w.Store(w.Load()&^(15<<shift) | uint64(to)<<shift)
}

func (t pieceStates) readable(p metainfo.Piece) bool { return t.get(p).Readable() }
func (t pieceStates) onDisk(p metainfo.Piece) bool   { return t.get(p).OnDisk() }
func (t pieceStates) inDoubt(p metainfo.Piece) bool  { return t.get(p) == state.InDoubt }
func (t pieceStates) durable(p metainfo.Piece) bool  { return t.get(p) == state.Durable }

// incomplete reports whether single blocks of a piece may be readable.
func (t pieceStates) incomplete(p metainfo.Piece) bool {
	s := t.get(p)
	return s == state.Partial || s == state.InDoubt
}

// those are the pieces below n in a state that is wanted.
func (t pieceStates) those(n int, wanted func(state.Piece) bool) bitset.Set {
	set := bitset.New(n)
	for p := range n {
		if wanted(t.get(p)) {
			set.Set(p)
		}
	}
	return set
}

func isInDoubt(s state.Piece) bool { return s == state.InDoubt }
func isDurable(s state.Piece) bool { return s == state.Durable }

// checkSteps has become panic when a piece skips a state; tests set it.
var checkSteps bool

// become gives a piece another state; mu is held.
func (s *Store) become(p metainfo.Piece, to state.Piece) {
	from := s.states.get(p)
	if from == to {
		return
	}
	if checkSteps && !from.Becomes(to) {
		panic(fmt.Sprintf("cache: piece %d was %v and becomes %v", p, from, to))
	}
	s.states.set(p, to)
}

// CheckInvariants returns an error if what the store knows of a piece contradicts itself. It is for
// tests.
func (s *Store) CheckInvariants() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	bytes := make([]int64, len(s.fileBytes))
	kept := int64(0)
	for p := range s.lay.pieces {
		st, pb := s.states.get(p), s.pieces[p]
		if err := checkPiece(st, pb); err != nil {
			return fmt.Errorf("piece %d is %v: %w", p, st, err)
		}
		if pb != nil {
			kept += pb.kept
		}
		if !st.OnDisk() {
			continue
		}
		for part := range s.lay.parts(s.lay.pieceRange(p)) {
			if part.file >= 0 {
				bytes[part.file] += part.n
			}
		}
	}
	for i, n := range bytes {
		f := &s.lay.files[i]
		if n != s.fileBytes[i] || f.Length > 0 && stored(f) && s.complete.has(i) != (n == f.Length) {
			return fmt.Errorf("file %d has %d verified bytes, counted are %d, complete: %v", i, n, s.fileBytes[i], s.complete.has(i))
		}
	}
	if kept != s.kept {
		return fmt.Errorf("%d bytes are kept, counted are %d", kept, s.kept)
	}
	return nil
}

// checkPiece checks the blocks of a piece against its state.
func checkPiece(st state.Piece, pb *pieceBuf) error {
	if pb == nil {
		if st == state.Partial || st == state.Verified {
			return fmt.Errorf("it has no blocks")
		}
		return nil
	}
	unwritten := 0
	for b, bs := range pb.state {
		if bs == waiting {
			unwritten++
		}
		if bs == absent && pb.isGood(b) {
			return fmt.Errorf("block %d is verified and absent", b)
		}
	}
	switch {
	case pb.discarded, st == state.Missing, st == state.Evicted, st.OnDisk():
		return fmt.Errorf("it has blocks")
	case pb.committed != (st == state.Verified):
		return fmt.Errorf("committed: %v", pb.committed)
	case unwritten != pb.unwritten:
		return fmt.Errorf("%d blocks wait, counted are %d", unwritten, pb.unwritten)
	case pb.committed && unwritten == 0:
		return fmt.Errorf("nothing waits for the disk")
	}
	return nil
}
