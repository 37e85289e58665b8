package cache

import (
	"errors"
	"fmt"
	"time"

	"torrentfs/cache/resume"
	"torrentfs/cache/vfs"
)

// ErrChanged is in the error of a read when another program changed, replaced
// or removed the file: its bytes are no longer those that were verified.
var ErrChanged = errors.New("changed by another program")

const (
	// lendEvery is how often a file is looked at whose bytes go to peers by
	// sendfile: they check what they get.
	lendEvery = 100 * time.Millisecond
	// overlap is for how long after a write of ours the system is asked who else
	// wrote, beside the look at the file.
	overlap = time.Second
)

// watch is the state that a file was left in by our own last change of it. What
// was read from a file in another state is not what was verified: a change by
// another program sets ctime, which nobody can put back.
//
// While we write ourselves, and for the look after it, that does not tell; then
// the system is asked who wrote ([vfs.Witness]), where it knows. The store's mu
// guards it.
type watch struct {
	seen    resume.FileState
	known   bool        // seen is the present state, but for changes by others
	writers int         // changes of ours under way
	gen     uint64      // of our changes, and of doubts
	doubts  uint64      // times that it was taken for what it is
	foreign bool        // another program changed it; until the next doubt
	touched bool        // we changed it in this session
	owned   bool        // the journal knows that it is ours
	witness vfs.Witness // nil: the system does not tell who writes
	heard   uint64      // changes by others that it told of
	wrote   time.Time   // we did, last
	lent    time.Time
	warned  time.Time // the log was told
	marked  uint64    // what the journal says of it; 0: nothing
}

func stateOf(st vfs.Info) resume.FileState {
	return resume.FileState{Size: st.Size, MTime: st.MTime, CTime: st.CTime, BTime: st.BTime, Ino: st.Ino, Dev: st.Dev}
}

// watchOf returns the file's watch; mu is held. At first it knows what the
// scan saw.
func (s *Store) watchOf(file int) *watch {
	w := s.watches[file]
	if w == nil {
		st := s.stats[file]
		w = &watch{seen: st, known: st.Size != resume.FileMissing}
		s.watches[file] = w
	}
	return w
}

// settled reports whether the file is to be in the state that was seen.
func (w *watch) settled() bool { return w.known && w.writers == 0 }

// suspicious compares the file with what we left, and notes if another program
// changed it; mu is held. gen is that of before st was taken.
func (w *watch) suspicious(st resume.FileState, gone bool, gen uint64) bool {
	switch {
	case w.foreign:
	case gone && w.gen == gen:
		w.foreign = true
	case w.settled() && w.gen == gen:
		w.foreign = st != w.seen
	case w.seen.Size != resume.FileMissing: // we are writing: it stays the same file
		w.foreign = w.gen == gen && w.seen.Another(st)
	}
	if w.witness != nil && (!w.settled() || time.Since(w.wrote) < overlap) {
		if n := w.witness.Changes(); n != w.heard {
			w.heard, w.foreign = n, true
		}
	}
	return w.foreign
}

// intact compares an open file with what we left. An empty file holds nothing that could be wrong.
func (s *Store) intact(file int, f vfs.File) error {
	if s.lay.files[file].Length == 0 {
		return nil
	}
	s.mu.Lock()
	w := s.watchOf(file)
	gen, foreign := w.gen, w.foreign
	s.mu.Unlock()
	if foreign {
		return ErrChanged
	}
	st, err := f.Stat()
	if err != nil {
		return fmt.Errorf("look at file: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.suspicious(stateOf(st), st.Gone, gen) {
		return ErrChanged
	}
	return nil
}

// lendable is intact for files that are lent out, at most every lendEvery.
func (s *Store) lendable(file int, f vfs.File) bool {
	now := time.Now()
	s.mu.Lock()
	w := s.watchOf(file)
	fresh := !w.foreign && now.Sub(w.lent) < lendEvery
	if !fresh {
		w.lent = now
	}
	s.mu.Unlock()
	return fresh || s.intact(file, f) == nil
}

// change has f change the file through h, and tells our change from those of
// others: it fails with [ErrChanged] and does nothing if there was one before,
// which it would cover, and has the file doubted if there was one meanwhile.
func (s *Store) change(file int, h vfs.File, f func() error) error {
	witness := h.Witness()
	s.mu.Lock()
	if w := s.watchOf(file); witness != w.witness {
		if w.witness != nil && w.witness.Changes() != w.heard {
			w.foreign = true
		}
		w.witness, w.heard = witness, 0
		if witness != nil {
			w.heard = witness.Changes()
		}
	}
	s.mu.Unlock()
	if err := s.intact(file, h); err != nil {
		return err
	}
	s.mu.Lock()
	w := s.watchOf(file)
	if w.foreign {
		s.mu.Unlock()
		return ErrChanged
	}
	w.known, w.touched = false, true
	w.writers++
	w.gen++
	doubts := w.doubts
	s.mu.Unlock()
	err := f()
	if s.changed(file, h, doubts) {
		s.invalidateFile(file)
	}
	return err
}

// changed takes the file for what our change made of it. It reports whether
// others changed it meanwhile. doubts is that of before.
func (s *Store) changed(file int, f vfs.File, doubts uint64) (foreign bool) {
	s.mu.Lock()
	w := s.watchOf(file)
	w.writers--
	w.wrote = time.Now()
	gen, last := w.gen, w.writers == 0
	s.mu.Unlock()
	st, err := f.Stat()
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.doubts != doubts { // what is ours of it cannot be told
		w.foreign = true
		return true
	}
	if w.foreign = w.foreign || err != nil; w.suspicious(stateOf(st), st.Gone, gen) {
		return true
	}
	if last && w.gen == gen && w.writers == 0 {
		w.seen, w.known = stateOf(st), true
		w.gen++ // a look that was taken while we wrote tells nothing
	}
	return false
}

// vouch looks at a file by its name, after it was synced, and returns the mark
// of its state for the journal: all that is held in it is there. It is 0 while
// it is being written to, or if it is not as we left it; then it is doubted.
func (s *Store) vouch(file int) (mark uint64, seen resume.FileState) {
	s.mu.Lock()
	w := s.watchOf(file)
	gen, settled := w.gen, w.settled()
	s.mu.Unlock()
	st := s.stat(file)
	s.mu.Lock()
	foreign := settled && w.suspicious(st, st.Size == resume.FileMissing, gen)
	if settled && !foreign && w.settled() && w.gen == gen {
		mark, seen = w.seen.Mark(), w.seen
	}
	s.mu.Unlock()
	if foreign {
		s.invalidateFile(file)
	}
	return mark, seen
}
