package cache

import (
	"cmp"
	"errors"
	"io/fs"
	"maps"
	"slices"

	"torrentfs/cache/state"
	"torrentfs/metainfo"
)

// A sync that fails may cost what the system had taken from us: some systems
// drop it, others keep it in memory and call it clean, and the next sync works
// with either. So once a file whose sync failed can be synced again, all of it
// that is not known to be durable is unsure:
//
//	unsure ─ written ─ written again ─ Events: in doubt ─ Commit ─ synced, journaled
//
// It is written again from memory, or as the system reads it, which makes it
// dirty; whether it is right at all is for the hash to say.

// rewriteBytes is how much of a piece is read and written again at a time.
const rewriteBytes = 1 << 20

// retry takes up those of the files that could be synced again.
func (y *syncer) retry(files, bad map[int]struct{}) {
	s := y.s
	for file := range files {
		if _, still := bad[file]; still {
			continue
		}
		s.mu.Lock()
		_, unsyncable := s.unsyncable[file]
		n := 0
		if unsyncable {
			delete(s.unsyncable, file)
			n = s.sync.unsureOf(file)
		}
		s.mu.Unlock()
		if n > 0 {
			s.log.Warn("file could not be synced for a while: what was written meanwhile is written and checked again",
				"path", s.lay.files[file].Path, "pieces", n)
			signal(s.write.kick)
		}
	}
}

// unsureOf makes what there is of a file and is not durable unsure, and says
// how many pieces that are; mu is held.
func (y *syncer) unsureOf(file int) (n int) {
	s := y.s
	first, last := s.lay.piecesOf(file)
	for p := first; p <= last; p++ {
		_, filling := s.filling[p]
		if s.states.durable(p) || !s.states.readable(p) && s.pieces[p] == nil && !s.states.inDoubt(p) && !filling {
			continue
		}
		s.unsure[p] = struct{}{}
		n++
		if s.states.onDisk(p) {
			s.rewrites[p] = struct{}{}
		}
	}
	return n
}

// rewriteSome writes pieces again, at least one if there is any, until that is
// much; more says whether some are left. What the disk does not take comes again.
// The writer calls it.
func (w *writer) rewriteSome() (more bool, first error) {
	s := w.s
	s.mu.Lock()
	todo := slices.Sorted(maps.Keys(s.rewrites))
	s.mu.Unlock()
	n := int64(0)
	for _, piece := range todo {
		if more = n >= batchBytes; more {
			break
		}
		n += s.lay.geo.PieceSize(piece)
		if err := w.rewrite(piece); err != nil {
			first = cmp.Or(first, err)
			continue
		}
		s.mu.Lock()
		delete(s.rewrites, piece)
		s.write.recheckLater(piece)
		s.mu.Unlock()
		for file := range s.lay.filesOf(piece) {
			s.invalidateFile(file) // it may have failed for that
		}
	}
	if n > 0 {
		signal(s.news)
	}
	return more, first
}

// recheckLater has Events return a piece; mu is held.
func (w *writer) recheckLater(piece int) {
	s := w.s
	if s.states.onDisk(piece) { // else its trust was withdrawn, and sealing brings it back
		s.rechecks[piece] = struct{}{}
	}
}

// rewrite writes a piece that is on disk again, but for blocks that cannot be read: the caller
// that hashes it will see that, too. It stops if the trust in it is withdrawn meanwhile.
func (w *writer) rewrite(piece int) error {
	s := w.s
	off, n := s.lay.pieceRange(piece)
	buf := make([]byte, min(n, rewriteBytes))
	for end := off + n; off < end && s.states.onDisk(piece); {
		before := s.forgotten.Load()
		n, err := s.readVerified(buf[:min(int64(len(buf)), end-off)], off, before)
		if s.forgotten.Load() != before {
			continue // a hole may have come into what was read
		}
		if werr := w.rewritePart(buf[:n], off); werr != nil {
			return werr
		}
		off += int64(n)
		if err != nil {
			_, _, _, _, off = s.lay.at(off)
		}
	}
	return nil
}

// rewritePart writes bytes again that lie in the files already.
func (w *writer) rewritePart(b []byte, off int64) error {
	s := w.s
	for p := range s.lay.parts(off, int64(len(b))) {
		if p.file < 0 {
			continue
		}
		err := w.writePart([]item{{off: off, data: b}}, p)
		if errors.Is(err, fs.ErrPermission) {
			continue // it is not us who wrote there
		}
		if err != nil {
			return err
		}
		s.mu.Lock()
		s.dirtyFiles[p.file] = struct{}{}
		s.mu.Unlock()
	}
	return nil
}

// Changed has a token when Events may have something to return, or Dirty has shrunk.
func (s *Store) Changed() <-chan struct{} { return s.news }

// Events returns what happened to verified pieces since the last call. They are in doubt, as if they
// had been at Open, and cannot be read any more: the caller hashes them and calls Commit or Discard.
// They are those that Invalidate was called for, those of a file that the store saw to be changed by
// another program, and those that a failed sync may have cost, and that were written again.
func (s *Store) Events() (events []state.Event) {
	if !s.guard.enter() {
		return nil
	}
	defer s.guard.leave()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.suspicion.untold {
		if s.states.inDoubt(e.Piece) { // not judged meanwhile
			events = append(events, e)
		}
	}
	s.suspicion.untold = nil
	for p := range s.rechecks {
		if s.states.onDisk(p) { // else sealing brings it back
			delete(s.unsure, p)
			s.invalidatePiece(p)
			events = append(events, state.Event{Piece: p, To: state.InDoubt})
		}
	}
	clear(s.rechecks)
	if len(events) > 0 {
		slices.SortStableFunc(events, func(a, b state.Event) int { return cmp.Compare(a.Piece, b.Piece) })
		events = slices.CompactFunc(events, func(a, b state.Event) bool { return a.Piece == b.Piece })
		s.withdrew()
	}
	return events
}

// Durable reports whether all pieces from first to last are verified, written,
// synced and journaled: they outlive a crash.
func (s *Store) Durable(first, last metainfo.Piece) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p := first; p <= last; p++ {
		if !s.states.durable(p) {
			return false
		}
	}
	return true
}
