package cache

import (
	"errors"
	"maps"
	"os"
	"slices"
	"time"
)

// Section returns the file that holds the n verified bytes at off, and where
// they begin in it, for sendfile. It is false unless all of them are written
// and lie in one file, and while the disk reads badly.
//
// The store may close f at any time to stay within its limit of open files.
// So use it through f.SyscallConn (never a bare descriptor) with explicit
// offsets (never its own offset), and on [os.ErrClosed] ask again or use
// ReadAt.
func (s *Store) Section(off int64, n int) (f *os.File, at int64, ok bool) {
	if !s.guard.enter() {
		return nil, 0, false
	}
	defer s.guard.leave()
	if off < 0 || n <= 0 || off+int64(n) > s.lay.size || s.disk.readsBadly() {
		return nil, 0, false
	}
	for piece := int(off / s.lay.pieceLen); piece <= int((off+int64(n)-1)/s.lay.pieceLen); piece++ {
		if !s.states.onDisk(piece) {
			return nil, 0, false
		}
	}
	for p := range s.lay.parts(off, int64(n)) {
		if p.file < 0 || p.n < int64(n) {
			return nil, 0, false
		}
		h := s.cache.files.acquireOpen(fileKey{s, p.file, false})
		if h == nil && s.disk.bounded("open", s.lay.files[p.file].Path, func() error { return s.openSoon(p.file) }) == nil {
			h = s.cache.files.acquireOpen(fileKey{s, p.file, false})
		}
		if h == nil {
			return nil, 0, false
		}
		defer s.cache.files.release(h)
		return h.f.OS(), p.at, h.f.OS() != nil && s.lendable(p.file, h.f)
	}
	return nil, 0, false
}

// openSoon has a file open for the next acquireOpen.
func (s *Store) openSoon(file int) error {
	h, err := s.cache.files.acquire(fileKey{s, file, false})
	if err == nil {
		s.cache.files.release(h)
	}
	return err
}

// pin is a file that was handed out for as long as it is used.
type pin struct {
	h     *handle
	uses  int
	stale bool // the file was changed by another program since
}

// Backing returns a file that is verified and written throughout, for the
// kernel to read by itself (passthrough). The store owns f and keeps it open,
// until ReleaseBacking was called as often or the
// store is closed. It is false for a file that is not complete, that has
// another length on disk, on a disk that failed to read not long ago, or when
// too many are handed out.
func (s *Store) Backing(file int) (f *os.File, ok bool) {
	if !s.guard.enter() {
		return nil, false
	}
	defer s.guard.leave()
	if !s.complete.has(file) {
		return nil, false
	}
	if s.disk.readsBadly() {
		return nil, false
	}
	if err := s.disk.bounded("open", s.lay.files[file].Path, func() error { return s.examine(file) }); err != nil {
		if errors.Is(err, ErrChanged) {
			s.invalidateFile(file)
		}
		return nil, false
	}
	h := s.cache.files.acquireOpen(fileKey{s, file, false})
	if h == nil {
		return nil, false
	}
	pinned := s.pin(file, h)
	if pinned != h {
		s.cache.files.release(h)
	}
	if pinned == nil {
		return nil, false
	}
	return pinned.f.OS(), true
}

// examine opens a file that is to be handed out, and looks whether it may be.
func (s *Store) examine(file int) error {
	h, err := s.cache.files.acquire(fileKey{s, file, false})
	if err != nil {
		return err
	}
	defer s.cache.files.release(h)
	st, err := h.f.Stat()
	switch {
	case err != nil:
		return err
	case h.f.OS() == nil:
		return errors.ErrUnsupported
	case st.Size != s.lay.files[file].Length:
		return ErrChanged
	}
	if err := s.intact(file, h.f); err != nil {
		return err
	}
	return s.probe(file, h)
}

// pin keeps h open for the file, or counts one more use of the handle that is
// kept already, and returns which; nil if it may not be handed out.
func (s *Store) pin(file int, h *handle) *handle {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pins[file]
	switch {
	case !s.complete.has(file), p != nil && p.stale: // forgotten meanwhile
		return nil
	case p == nil && len(s.pins) >= s.cache.files.limit/2:
		return nil
	case p == nil:
		p = &pin{h: h}
		s.pins[file] = p
		if !s.suspicion.looking {
			s.suspicion.looking = true
			s.wg.Add(1)
			go s.watchPins()
		}
	case p.h == h:
		defer s.cache.files.release(h) // the first use holds it
	}
	p.uses++
	return p.h
}

// pinEvery is how often a file is looked at that the kernel reads by itself.
const pinEvery = time.Second

// watchPins looks at the files that are handed out, until none is: what others
// do to them goes past us, and is to be known and told at least.
func (s *Store) watchPins() {
	defer s.wg.Done()
	ticker := time.NewTicker(pinEvery)
	defer ticker.Stop()
	for {
		select {
		case <-s.done:
			return
		case <-ticker.C:
		}
		s.mu.Lock()
		files := slices.Sorted(maps.Keys(s.pins))
		s.suspicion.looking = len(files) > 0
		s.mu.Unlock()
		if len(files) == 0 {
			return
		}
		for _, file := range files {
			if s.disk.hanging(reading) == nil {
				s.vouch(file)
			}
		}
	}
}

// ReleaseBacking says that one user of Backing is done with the file.
func (s *Store) ReleaseBacking(file int) {
	if !s.guard.enter() {
		return
	}
	defer s.guard.leave()
	s.mu.Lock()
	p := s.pins[file]
	if p != nil {
		if p.uses--; p.uses > 0 {
			p = nil
		} else {
			delete(s.pins, file)
		}
	}
	s.mu.Unlock()
	if p != nil {
		s.cache.files.release(p.h)
	}
}
