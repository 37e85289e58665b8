package cache

import (
	"slices"

	"torrentfs/cache/resume"
	"torrentfs/cache/state"
)

// snapshot is what can be vouched for now.
func (s *Store) snapshot() *resume.Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	snap := &resume.Snapshot{
		Held: s.states.those(s.lay.pieces, isDurable), InDoubt: s.states.those(s.lay.pieces, isInDoubt), Files: slices.Clone(s.stats), Blocks: s.toldBlocks(),
	}
	for i := range snap.Files {
		if snap.Files[i].Size != resume.FileMissing && !s.place.may(i) {
			snap.Files[i] = resume.FileState{Size: resume.FileMissing} // or the next run took it for ours
		}
	}
	return snap
}

// publish writes the clean snapshot, if anything changed since the last.
func (y *syncer) publish() error {
	s := y.s
	s.mu.Lock()
	stale := s.stale
	s.mu.Unlock()
	if !stale && !s.resume.begun() {
		return nil
	}
	defer s.disk.begin(syncing, "write resume data in", resume.StateDir)()
	states := make(map[int]resume.FileState)
	for file, w := range s.watches {
		if w.touched || w.foreign || w.doubts > 0 {
			_, states[file] = s.vouch(file)
		}
	}
	snap := s.snapshot()
	for p := range s.lay.pieces { // verified but not vouched for: hash them
		if s.states.get(p) == state.Written {
			snap.InDoubt.Set(p)
		}
	}
	for file, state := range states {
		snap.Files[file] = state
		if state == (resume.FileState{}) {
			y.invalidateIn(snap, file) // another program changed it, and nobody read it since
		}
	}
	if err := s.resume.finish(snap); err != nil {
		return &DiskError{Op: "write resume data in", Path: resume.StateDir, Err: err}
	}
	return nil
}

// invalidateIn makes a snapshot vouch for nothing in the file.
func (y *syncer) invalidateIn(snap *resume.Snapshot, file int) {
	s := y.s
	first, last := s.lay.piecesOf(file)
	for p := first; p <= last; p++ {
		if snap.Held.Has(p) {
			snap.Held.Clear(p)
			snap.InDoubt.Set(p)
		}
		if snap.Blocks[p] != nil {
			delete(snap.Blocks, p)
			snap.InDoubt.Set(p)
		}
	}
}
