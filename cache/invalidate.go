package cache

import (
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"torrentfs/cache/resume"
	"torrentfs/cache/state"
	"torrentfs/internal/bitset"
	"torrentfs/metainfo"
)

// quiet is how long the disk must have read without an error before the next
// one is news.
const quiet = time.Minute

// Invalidate withdraws the trust in a verified piece whose bytes could not be read,
// for the given reason, and in all others of a file that another program
// changed, cut or removed. Such pieces cannot be read any more; Events tells of
// them, unless others have withdrawn the trust before.
func (s *Store) Invalidate(piece metainfo.Piece, reason error) {
	if !s.guard.enter() {
		return
	}
	defer s.guard.leave()
	var doubtful []metainfo.Piece
	foreign, hangs := false, hangs(reason) || s.disk.hanging(reading) != nil
	for file := range s.lay.filesOf(piece) {
		if hangs {
			continue
		}
		pieces, changed := s.reconsider(file)
		doubtful = append(doubtful, pieces...)
		foreign = foreign || changed
	}
	if !foreign && !errors.Is(reason, ErrChanged) {
		s.disk.failReading(reason)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.invalidatePiece(piece) {
		doubtful = append(doubtful, piece)
		s.withdrew()
	}
	for _, p := range doubtful {
		e := state.Event{Piece: p, To: state.InDoubt}
		if p == piece {
			e.Err = reason
		}
		s.tell(e)
	}
}

// tell has Events return an event; mu is held.
func (s *Store) tell(e state.Event) {
	s.suspicion.untold = append(s.suspicion.untold, e)
	signal(s.news)
}

// withdrew has readers read again, and the journal hear of it; mu is held.
func (s *Store) withdrew() {
	s.stale = true
	s.forgotten.Add(1)
	signal(s.sync.sealKick)
}

// invalidateFile withdraws the trust in all that a file holds which another program
// changed, as Invalidate does. Events tells of the pieces.
func (s *Store) invalidateFile(file int) {
	if s.disk.hanging(reading) != nil {
		return
	}
	pieces, foreign := s.reconsider(file)
	if !foreign {
		return
	}
	s.mu.Lock()
	for _, p := range pieces {
		s.tell(state.Event{Piece: p, To: state.InDoubt})
	}
	s.mu.Unlock()
}

// suspicion is what is not verified, and cannot be verified by a hash that was
// taken before a file changed. The store's mu guards it.
type suspicion struct {
	blocks map[int]bitset.Set // by piece: blocks on disk that have to be read back before a hash of them counts
	files  map[int]struct{}   // of which the journal must not vouch for the state that it knows
	untold []state.Event      // that Events is to return

	looking bool // watchPins runs
}

// suspectBlocks keeps the hash of a piece that is not verified from vouching for
// blocks on disk: those that are in memory as well are written again, the
// others have to be read back; mu is held.
func (s *Store) suspectBlocks(piece int) {
	pb := s.pieces[piece]
	if _, filling := s.filling[piece]; pb == nil && !filling && !s.states.inDoubt(piece) {
		return
	}
	for b := range s.lay.geo.NumBlocks(piece) {
		switch {
		case !s.lay.hasContent(piece, b):
		case pb == nil, pb.state[b] == onDisk && pb.bufs[b] == nil:
			if s.suspicion.blocks[piece] == nil {
				s.suspicion.blocks[piece] = bitset.New(s.lay.geo.NumBlocks(piece))
			}
			s.suspicion.blocks[piece].Set(b)
		case pb.state[b] == onDisk:
			s.writeAgain(pb, b)
		}
	}
}

// writeAgain queues a block that is in memory and on disk; mu is held.
func (s *Store) writeAgain(pb *pieceBuf, block int) {
	data := pb.bufs[block]
	if pb.place != nil { // it counts as kept
		s.dropKept(pb, block)
		pb.bufs[block] = data
	}
	pb.state[block] = waiting
	pb.unwritten++
	off, _ := s.lay.block(pb.piece, block)
	s.enqueue(item{pb, block, off, data})
}

// readBack notes that a block is about to be read from disk for its hash.
func (s *Store) readBack(piece, block int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsuspect(piece, block)
}

// unsuspect lifts the suspicion from a block; mu is held.
func (s *Store) unsuspect(piece, block int) {
	set := s.suspicion.blocks[piece]
	if set == nil {
		return
	}
	if set.Clear(block); set.Empty() {
		delete(s.suspicion.blocks, piece)
	}
}

// suspected reports whether a block has to be read back; mu is held.
func (s *Store) suspected(piece, block int) bool {
	set := s.suspicion.blocks[piece]
	return set != nil && set.Has(block)
}

// reconsider takes a file that is not as we left it for what it is now, and
// reports whether that is so. In the same step, so that no read takes the one for the
// other, it withdraws the trust in what the file holds, and returns the pieces
// that are in doubt by that. The next use opens it anew, by its name.
func (s *Store) reconsider(file int) (doubtful []int, foreign bool) {
	if s.lay.files[file].Length == 0 {
		return nil, false
	}
	s.mu.Lock()
	gen := s.watchOf(file).gen
	s.mu.Unlock()
	st := s.stat(file)
	s.mu.Lock()
	w := s.watchOf(file)
	foreign = w.suspicious(st, st.Size == resume.FileMissing && w.seen.Size != resume.FileMissing, gen)
	news := false
	if foreign {
		w.foreign = false
		w.doubts++
		w.gen++
		w.seen, w.known = st, st.Size != resume.FileMissing && w.writers == 0
		w.marked, w.owned = 0, false
		s.stats[file] = resume.FileState{Size: resume.FileMissing, Ino: st.Ino}
		s.suspicion.files[file] = struct{}{}
		if p := s.pins[file]; p != nil {
			p.stale = true
		}
		first, last := s.lay.piecesOf(file)
		for p := first; p <= last; p++ {
			if s.invalidatePiece(p) {
				doubtful = append(doubtful, p)
			}
		}
		s.withdrew()
		news = time.Since(w.warned) > quiet
		w.warned = time.Now()
	}
	s.mu.Unlock()
	if news {
		s.log.Warn("file was changed by another program: what it holds is checked again", "path", s.lay.files[file].Path)
	}
	if foreign {
		s.place.moved(file)
		s.cache.files.forget(fileKey{s, file, false})
		s.cache.files.forget(fileKey{s, file, true})
	}
	return doubtful, foreign
}

// invalidatePiece puts a verified piece in doubt, unless all of it waits in
// memory for the disk; mu is held.
func (s *Store) invalidatePiece(piece int) bool {
	if !s.states.readable(piece) {
		s.suspectBlocks(piece)
		if !s.invalidateBlocks(piece) {
			return false
		}
		s.become(piece, state.InDoubt)
		s.toLose = append(s.toLose, piece)
		return true
	}
	if pb := s.pieces[piece]; pb != nil {
		if pb.unwritten == len(pb.state) {
			return false
		}
		pb.committed = false
		pb.good, pb.told = nil, nil
		s.suspectBlocks(piece)
	}
	s.unverify(piece, state.InDoubt)
	s.toLose = append(s.toLose, piece)
	return true
}

// unverify takes a piece out of what can be read; mu is held.
func (s *Store) unverify(piece metainfo.Piece, to state.Piece) {
	was := s.states.get(piece)
	s.become(piece, to)
	if !was.OnDisk() {
		return
	}
	for p := range s.lay.parts(s.lay.pieceRange(piece)) {
		if p.file >= 0 {
			s.fileBytes[p.file] -= p.n
			s.complete.clear(p.file)
		}
	}
}

// Stalled reports whether the disk takes nothing now: it refuses, or has been
// at one write for seconds.
func (s *Store) Stalled() bool {
	return s.disk.stalled()
}

// Drop gives up verified pieces that wait in memory for a disk that is
// stalled, the oldest first, until no more than most bytes wait. They cannot be
// read any more and have to be fetched again. While the disk works it does
// nothing: then waiting is enough.
func (s *Store) Drop(most int64) (lost []metainfo.Piece) {
	if !s.guard.enter() {
		return nil
	}
	defer s.guard.leave()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.disk.stalled() {
		return nil
	}
	over := s.dirty.Load() - most
	freed := int64(0)
	kept := s.queue[:0]
	for i := range s.queue {
		it := s.queue[i]
		n := int64(len(it.data))
		if over > freed && it.current() && it.pb.committed {
			lost = append(lost, it.pb.piece)
			it.pb.discarded = true
			it.pb.bufs = nil
			delete(s.pieces, it.pb.piece)
			s.unverify(it.pb.piece, state.Missing)
		}
		if !it.current() {
			freed += n
			continue
		}
		kept = append(kept, it)
	}
	clear(s.queue[len(kept):])
	s.queue = kept
	s.queued -= freed
	s.dirty.Add(-freed)
	if len(lost) > 0 {
		s.forgotten.Add(1)
	}
	return lost
}

// probeEvery is how often a file is read from before it is handed out.
const probeEvery = time.Second

// probe reads a little somewhere in a file that is to be handed out, past the
// page cache where that works. The kernel does not tell us what it cannot read
// of such a file; so a disk that is gone is noticed here.
func (s *Store) probe(file int, h *handle) error {
	size := s.lay.files[file].Length
	if !s.disk.toProbe() || size == 0 {
		return nil
	}
	err := h.f.Probe(rand.Int64N(size))
	if err != nil {
		s.disk.failReading(&DiskError{Op: "read", Path: s.lay.files[file].Path, Err: err})
	}
	return err
}

// takeLost takes what the journal must no longer vouch for: pieces, and states
// of files.
func (y *syncer) takeLost() (pieces, files []int) {
	s := y.s
	s.mu.Lock()
	defer s.mu.Unlock()
	pieces, files = s.toLose, slices.Sorted(maps.Keys(s.suspicion.files))
	s.toLose = nil
	clear(s.suspicion.files)
	return pieces, files
}

// journalLost writes it down. It comes before any word on pieces that were
// verified later.
func (y *syncer) journalLost() error {
	s := y.s
	pieces, files := y.takeLost()
	if len(pieces)+len(files) == 0 {
		return nil
	}
	var recs []resume.Record
	for _, p := range pieces {
		recs = append(recs, resume.Record{Kind: resume.Lost, Index: uint32(p)})
	}
	for _, f := range files {
		recs = append(recs, resume.Record{Kind: resume.FileSeen, Index: uint32(f)})
	}
	err := s.resume.begin(s.snapshot)
	if err == nil {
		err = s.resume.append(recs...)
	}
	if err == nil {
		err = s.resume.sync()
	}
	if err != nil {
		s.mu.Lock()
		s.toLose = append(pieces, s.toLose...)
		for _, f := range files {
			s.suspicion.files[f] = struct{}{}
		}
		s.mu.Unlock()
	}
	return err
}
