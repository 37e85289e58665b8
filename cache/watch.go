package cache

import (
	"errors"
	"fmt"
	"time"

	"torrentfs/cache/vfs"
)

// ErrChanged is in the error of a read when somebody else changed, replaced
// or removed the file: its bytes are no longer those that were verified.
var ErrChanged = errors.New("changed by another program")

const (
	// lendEvery is how often a file is looked at whose bytes go to peers by
	// sendfile: they check what they get.
	lendEvery = 100 * time.Millisecond
	// maxFalseAlarms is how often a file's date may change with its content
	// found right each time, until its date is no longer believed: some
	// network file systems set it behind our back.
	maxFalseAlarms = 3
)

// watch is what a file looked like after our own last change of it. What was
// read from a file that looks otherwise is not what was verified. A change
// within one tick of the file system's clock after our own write is not seen.
// The store's mu guards it.
type watch struct {
	seen    fileStat
	known   bool   // seen can be compared with
	writers int    // changes of ours under way
	gen     uint64 // of our changes
	foreign bool   // somebody else changed it; until Doubt
	alarms  int    // doubts since one was right
	lent    time.Time
}

// watchOf returns the file's watch; mu is held. At first it knows what the
// survey saw.
func (s *Store) watchOf(file int) *watch {
	w := s.watches[file]
	if w == nil {
		st := s.stats[file]
		w = &watch{seen: st, known: st.size != fileMissing}
		s.watches[file] = w
	}
	return w
}

// differs says whether the file is not as we left it; mu is held.
func (w *watch) differs(st vfs.Info) bool {
	return st.Size != w.seen.size || st.Ino != w.seen.ino ||
		(st.MTime != w.seen.mtime || st.Gone) && w.alarms < maxFalseAlarms
}

// intact compares an open file with what we left. While we change it
// ourselves nothing can be said; the next look will see.
func (s *Store) intact(file int, f vfs.File) error {
	s.mu.Lock()
	w := s.watchOf(file)
	gen, sure, foreign := w.gen, w.known && w.writers == 0, w.foreign
	s.mu.Unlock()
	if foreign {
		return ErrChanged
	}
	if !sure {
		return nil
	}
	st, err := f.Stat()
	if err != nil {
		return fmt.Errorf("look at file: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.known && w.gen == gen && w.differs(st) {
		w.foreign = true
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

// changing comes before each change of a file by us, changed after it.
func (s *Store) changing(file int, f vfs.File) {
	_ = s.intact(file, f) // somebody else's change would be covered by ours
	s.mu.Lock()
	w := s.watchOf(file)
	w.known = false
	w.writers++
	w.gen++
	s.mu.Unlock()
}

func (s *Store) changed(file int, f vfs.File) {
	s.mu.Lock()
	w := s.watchOf(file)
	w.writers--
	gen, last := w.gen, w.writers == 0
	s.mu.Unlock()
	if !last {
		return
	}
	st, err := f.Stat()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil && w.gen == gen && w.writers == 0 {
		w.seen, w.known = fileStat{st.Size, st.MTime, st.Ino}, true
	}
}
