package cache

import (
	"errors"
	"fmt"

	"torrentfs/cache/resume"
	"torrentfs/cache/state"
	"torrentfs/cache/vfs"
)

// ErrInUse is returned by Forget for a piece that the kernel reads by itself.
var ErrInUse = errors.New("file is handed out")

// Forget is what a quota will do, and nothing else does yet; the crash tests hold its order. It gives a verified piece up: it can be read no more, the journal says
// so, and then its place on disk is given back to the system. [ErrInUse] says
// that the kernel may be reading it without asking (Backing); then nothing
// has happened.
func (s *Store) Forget(piece int) error {
	if !s.guard.enter() {
		return ErrClosed
	}
	defer s.guard.leave()
	s.mu.Lock()
	if !s.states.onDisk(piece) {
		s.mu.Unlock()
		return fmt.Errorf("forget piece %d: %w", piece, ErrMissing)
	}
	for f := range s.lay.filesOf(piece) {
		if s.pins[f] != nil {
			s.mu.Unlock()
			return fmt.Errorf("forget piece %d: %s: %w", piece, s.lay.files[f].Path, ErrInUse)
		}
	}
	s.unverify(piece, state.Evicted)
	s.forgotten.Add(1)
	s.mu.Unlock()
	return s.erase(piece)
}

// erase takes a piece out of the journal and off the disk.
func (s *Store) erase(piece int) error {
	err := s.beforeWrite()
	if err == nil {
		err = s.resume.append(resume.Record{Kind: resume.Lost, Index: uint32(piece)})
	}
	if err == nil {
		err = s.resume.sync()
	}
	if err != nil {
		return fmt.Errorf("forget piece %d: %w", piece, err)
	}
	for p := range s.lay.parts(s.lay.pieceRange(piece)) {
		if p.file < 0 {
			continue
		}
		err := s.changeFile(p.file, func(f vfs.File) error { return f.PunchHole(p.at, p.n) })
		if err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return fmt.Errorf("forget piece %d: %w", piece, err)
		}
	}
	return nil
}
