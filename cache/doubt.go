package cache

import (
	"errors"
	"math/rand/v2"
	"time"
)

// quiet is how long the disk must have read without an error before the next
// one is news.
const quiet = time.Minute

// Doubt withdraws the trust in a verified piece whose bytes could not be read,
// for the given reason, and in all others of a file that somebody else
// changed, cut or removed. Such pieces cannot be read any more. Those that it
// returns are now doubtful, as if they had been at Open: the caller hashes
// them and calls Commit or Discard. It returns none where others have
// withdrawn the trust before.
func (s *Store) Doubt(piece int, reason error) (doubtful []int) {
	if !s.gate.enter() {
		return nil
	}
	defer s.gate.leave()
	suspects := map[int]struct{}{piece: {}}
	foreign, hangs := false, hangs(reason) || s.hanging(reading) != nil
	for file := range s.lay.filesOf(piece) {
		if hangs || !s.reconsider(file) {
			continue
		}
		foreign = true
		first, last := s.lay.piecesOf(file)
		for p := first; p <= last; p++ {
			suspects[p] = struct{}{}
		}
	}
	if !foreign && !errors.Is(reason, ErrChanged) {
		s.failReading(reason)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for p := range suspects {
		if s.doubtLocked(p) {
			doubtful = append(doubtful, p)
		}
	}
	if len(doubtful) > 0 {
		s.stale = true
		s.forgotten.Add(1)
		signal(s.sealKick) // the journal has to hear of it
	}
	return doubtful
}

// reconsider takes a file that is not as we left it for what it is now, and
// says whether that is so. The next use opens it anew, by its name.
func (s *Store) reconsider(file int) bool {
	st := s.stat(file)
	s.mu.Lock()
	w := s.watchOf(file)
	foreign := w.foreign || w.known && w.writers == 0 &&
		(st.size != w.seen.size || st.ino != w.seen.ino || st.mtime != w.seen.mtime && w.alarms < maxFalseAlarms)
	if foreign {
		w.foreign = false
		w.alarms++
		w.gen++
		w.seen, w.known = st, st.size != fileMissing && w.writers == 0
		s.stats[file] = st
		delete(s.touched, file)
		if p := s.pins[file]; p != nil {
			p.stale = true
		}
	}
	s.mu.Unlock()
	if foreign {
		s.log.Warn("file was changed by another program: what it holds is checked again", "path", s.lay.files[file].Path)
		s.cache.files.forget(fileKey{s, file, false})
		s.cache.files.forget(fileKey{s, file, true})
	}
	return foreign
}

// doubtLocked makes a verified piece doubtful, unless all of it waits in
// memory for the disk; mu is held.
func (s *Store) doubtLocked(piece int) bool {
	if !s.verified.has(piece) {
		if !s.doubtBlocks(piece) {
			return false
		}
		s.doubtful.set(piece)
		s.toLose = append(s.toLose, piece)
		return true
	}
	if pb := s.pieces[piece]; pb != nil {
		if pb.unwritten == len(pb.state) {
			return false
		}
		pb.committed = false
		pb.good, pb.told = nil, nil
	}
	s.unverify(piece)
	s.doubtful.set(piece)
	s.toLose = append(s.toLose, piece)
	return true
}

// unverify takes a piece out of what can be read; mu is held.
func (s *Store) unverify(piece int) {
	s.verified.clear(piece)
	s.durable.clear(piece)
	if !s.sealed.has(piece) {
		return
	}
	s.sealed.clear(piece)
	for p := range s.lay.parts(s.lay.pieceRange(piece)) {
		if p.file >= 0 {
			s.fileBytes[p.file] -= p.n
			s.complete.clear(p.file)
		}
	}
}

// stallTime is how long one write may take before the disk counts as stalled.
const stallTime = 2 * time.Second

// Stalled reports whether the disk takes nothing now: it refuses, or has been
// at one write for seconds.
func (s *Store) Stalled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stalled()
}

func (s *Store) stalled() bool {
	return s.trouble[writing] != nil || !s.writeBegun.IsZero() && time.Since(s.writeBegun) > stallTime
}

// Shed gives up verified pieces that wait in memory for a disk that is
// stalled, the oldest first, until no more than most bytes wait. They cannot be
// read any more and have to be fetched again. While the disk works it does
// nothing: then waiting is enough.
func (s *Store) Shed(most int64) (lost []int) {
	if !s.gate.enter() {
		return nil
	}
	defer s.gate.leave()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stalled() {
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
			s.unverify(it.pb.piece)
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

// failReading reports that the disk does not read, if that is news.
func (s *Store) failReading(err error) {
	now := time.Now()
	s.mu.Lock()
	if now.Sub(s.readFailed) > quiet && len(s.stuck) == 0 {
		s.trouble[reading] = nil
	}
	s.readFailed = now
	s.mu.Unlock()
	s.fail(reading, err)
}

// readsBadly says that the disk failed to read not long ago: nobody is sent to
// its files past us, for we can mend what it does not read.
func (s *Store) readsBadly() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.readFailed.IsZero() && time.Since(s.readFailed) < quiet || s.longest(reading) != nil
}

// probeEvery is how often a file is read from before it is handed out.
const probeEvery = time.Second

// probe reads a little somewhere in a file that is to be handed out, past the
// page cache where that works. The kernel does not tell us what it cannot read
// of such a file; so a disk that is gone is noticed here.
func (s *Store) probe(file int, h *handle) error {
	now := time.Now()
	s.mu.Lock()
	fresh := now.Sub(s.probed) < probeEvery
	if !fresh {
		s.probed = now
	}
	s.mu.Unlock()
	size := s.lay.files[file].Length
	if fresh || size == 0 {
		return nil
	}
	err := h.f.Probe(rand.Int64N(size))
	if err != nil {
		s.failReading(&DiskError{Op: "read", Path: s.lay.files[file].Path, Err: err})
	}
	return err
}

// takeLost takes the pieces that the journal must no longer call held.
func (s *Store) takeLost() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	lost := s.toLose
	s.toLose = nil
	return lost
}

// journalLost writes them down. It comes before any word on pieces that were
// verified later.
func (s *Store) journalLost() error {
	lost := s.takeLost()
	if len(lost) == 0 {
		return nil
	}
	recs := make([]record, len(lost))
	for i, p := range lost {
		recs[i] = record{kind: recLost, index: uint32(p)}
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
		s.toLose = append(lost, s.toLose...)
		s.mu.Unlock()
	}
	return err
}
