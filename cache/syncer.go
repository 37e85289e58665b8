package cache

import (
	"errors"
	"iter"
	"maps"
	"path"
	"slices"
	"time"

	"torrentfs/cache/resume"
	"torrentfs/cache/state"
	"torrentfs/internal/bitset"
)

const (
	syncEvery = time.Second // from a piece being sealed to its sync
	syncRetry = 5 * time.Second
	manyFiles = 64 // more than that are synced by one call for the file system
)

// syncer makes what is written durable: it syncs files and directories, and then writes the journal. It
// is one goroutine's, and after that Close's.
type syncer struct {
	s            *Store
	syncAll      bool       // after a crash: folders may be there that were never synced
	catalogued   bitset.Set // files that the catalogue names; nil: none was written yet
	cataloguedAt time.Time
	sealKick     chan struct{} // something is to be journaled
	syncNow      chan chan error
}

func newSyncer(s *Store) *syncer {
	return &syncer{s: s, sealKick: make(chan struct{}, 1), syncNow: make(chan chan error)}
}

// syncLoop is the one goroutine that syncs payload and journals, until Close
// takes over.
func (y *syncer) syncLoop() {
	s := y.s
	defer s.wg.Done()
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	armed := false
	for {
		var reply chan error
		select {
		case <-s.done:
			return
		case <-y.sealKick:
			if !armed {
				timer.Reset(syncEvery)
				armed = true
			}
			continue
		case <-timer.C:
		case reply = <-y.syncNow:
		}
		timer.Stop()
		armed = false
		err := y.syncBatch()
		if err != nil {
			timer.Reset(syncRetry)
			armed = true
		} else if y.unsynced() {
			timer.Reset(syncEvery)
			armed = true
		} else if wait := y.catalogue(time.Now(), reply != nil); wait > 0 {
			timer.Reset(wait)
			armed = true
		}
		if reply != nil {
			reply <- err
		}
	}
}

// batch is what one round of the syncer is about.
type batch struct {
	pieces []int
	blocks []resume.VerifiedBlock
	files  map[int]struct{}
	dirs   map[string]struct{}
}

// syncBatch makes the sealed pieces durable: files, directories, journal, in
// this order. What fails comes again, except that a file whose sync failed is
// not trusted any more: the system may have dropped its data and would say
// yes the next time (see retry).
func (y *syncer) syncBatch() error {
	s := y.s
	if err := y.journalLost(); err != nil {
		err = &DiskError{Op: "write resume data in", Path: resume.StateDir, Err: err}
		s.disk.fail(syncing, err)
		return err
	}
	b := y.takeBatch()
	if len(b.pieces)+len(b.blocks)+len(b.files)+len(b.dirs) == 0 {
		return nil
	}
	end := s.disk.begin(syncing, "write resume data in", resume.StateDir)
	err := s.resume.begin(s.snapshot)
	end()
	if err != nil {
		y.giveBack(b)
		err = &DiskError{Op: "write resume data in", Path: resume.StateDir, Err: err}
		s.disk.fail(syncing, err)
		return err
	}
	bad, fileErr := y.syncFiles(b)
	y.retry(b.files, bad)
	y.noteUnsyncable(bad)
	y.giveBack(batch{files: bad}) // to learn when the disk works again
	if err := y.syncDirs(b); err != nil {
		y.giveBack(b)
		s.disk.fail(syncing, err)
		return err
	}
	if err := y.journal(b.pieces, b.blocks, y.vouchFor(b.files, bad)); err != nil {
		y.giveBack(batch{pieces: b.pieces, blocks: b.blocks, files: b.files})
		err = &DiskError{Op: "write resume data in", Path: resume.StateDir, Err: err}
		s.disk.fail(syncing, err)
		return err
	}
	if fileErr != nil {
		s.disk.fail(syncing, fileErr)
		return fileErr
	}
	s.disk.recovered(syncing)
	return nil
}

// takeBatch takes the pieces together with the files: a piece is in one batch
// with the files that it waits for, or these were synced before.
func (y *syncer) takeBatch() batch {
	s := y.s
	s.mu.Lock()
	defer s.mu.Unlock()
	b := batch{s.toJournal, s.sync.takeUntold(), s.dirtyFiles, s.dirtyDirs}
	s.toJournal = nil
	s.dirtyFiles = make(map[int]struct{})
	s.dirtyDirs = make(map[string]struct{})
	return b
}

func (y *syncer) giveBack(b batch) {
	s := y.s
	s.mu.Lock()
	defer s.mu.Unlock()
	s.toJournal = append(b.pieces, s.toJournal...)
	for _, r := range b.blocks {
		s.untold[r.Piece] = struct{}{}
	}
	for f := range b.files {
		s.dirtyFiles[f] = struct{}{}
	}
	for d := range b.dirs {
		s.dirtyDirs[d] = struct{}{}
	}
}

// syncFiles syncs the batch's files and returns those for which it fails.
func (y *syncer) syncFiles(b batch) (bad map[int]struct{}, first error) {
	s := y.s
	if len(b.files) == 0 {
		return nil, nil
	}
	if len(b.files) > manyFiles || y.syncAll {
		end := s.disk.begin(syncing, "sync", ".")
		err := s.fs.SyncAll()
		end()
		if err == nil {
			y.syncAll = false
			clear(b.dirs)
			return nil, nil
		}
		if !errors.Is(err, errors.ErrUnsupported) {
			return b.files, &DiskError{Op: "sync", Path: ".", Err: err}
		}
	}
	bad = make(map[int]struct{})
	for file := range b.files {
		if err := y.syncFile(file); err != nil {
			bad[file] = struct{}{}
			if first == nil {
				first = &DiskError{Op: "sync", Path: s.lay.files[file].Path, Err: err}
			}
		}
	}
	return bad, first
}

func (y *syncer) syncFile(file int) error {
	s := y.s
	defer s.disk.begin(syncing, "sync", s.lay.files[file].Path)()
	h, err := s.cache.files.acquire(fileKey{s, file, false})
	if err != nil {
		return err
	}
	defer s.cache.files.release(h)
	return h.f.Sync()
}

func (y *syncer) noteUnsyncable(files map[int]struct{}) {
	s := y.s
	s.mu.Lock()
	defer s.mu.Unlock()
	for f := range files {
		s.unsyncable[f] = struct{}{}
	}
}

func (y *syncer) syncDirs(b batch) error {
	s := y.s
	for dir := range b.dirs {
		end := s.disk.begin(syncing, "sync folder", dir)
		err := s.fs.SyncDir(dir)
		end()
		if err != nil {
			return &DiskError{Op: "sync folder", Path: dir, Err: err}
		}
	}
	return nil
}

// unsynced reports whether files were changed since they were synced.
func (y *syncer) unsynced() bool {
	s := y.s
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.dirtyFiles) > len(s.unsyncable)
}

// vouchFor returns the states of the files that were synced. Those that are
// being written to come again.
func (y *syncer) vouchFor(files, bad map[int]struct{}) map[int]resume.FileState {
	s := y.s
	states := make(map[int]resume.FileState)
	for file := range files {
		if _, failed := bad[file]; failed {
			continue
		}
		if mark, seen := s.vouch(file); mark != 0 {
			states[file] = seen
			continue
		}
		s.mu.Lock()
		if w := s.watchOf(file); w.writers > 0 {
			s.dirtyFiles[file] = struct{}{}
		}
		s.mu.Unlock()
	}
	return states
}

// journal writes the pieces, the blocks and the states of files down, without
// those that cannot be trusted any more.
func (y *syncer) journal(pieces []int, blocks []resume.VerifiedBlock, states map[int]resume.FileState) error {
	s := y.s
	defer s.disk.begin(syncing, "write resume data in", resume.StateDir)()
	var held []int
	err := s.resume.appendMade(func() (recs []resume.Record) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, p := range pieces {
			if s.states.readable(p) && s.sync.trustedLocked(p) {
				held = append(held, p)
				recs = append(recs, resume.Record{Kind: resume.Held, Index: uint32(p)})
			}
		}
		blocks = slices.DeleteFunc(slices.Clone(blocks), func(r resume.VerifiedBlock) bool { return !s.sync.trustedLocked(r.Piece) })
		for _, r := range blocks {
			recs = append(recs, resume.Record{Kind: resume.BlockVerified, Index: uint32(r.Piece), Block: uint32(r.Index), Value: r.Sum})
		}
		for _, file := range slices.Sorted(maps.Keys(states)) {
			w, state := s.watchOf(file), states[file]
			if _, doubted := s.suspicion.files[file]; doubted || w.foreign {
				delete(states, file)
			} else if mark := state.Mark(); mark != w.marked {
				w.marked = mark
				recs = append(recs, resume.Record{Kind: resume.FileSeen, Index: uint32(file), Value: mark})
			}
		}
		return recs
	})
	if err == nil {
		err = s.resume.sync()
	}
	if err != nil {
		s.mu.Lock()
		for file := range states {
			s.watchOf(file).marked = 0
		}
		s.mu.Unlock()
		return err
	}
	s.mu.Lock()
	s.sync.told(blocks)
	for _, p := range held {
		if s.states.get(p) == state.Written { // not given up meanwhile
			s.become(p, state.Durable)
		}
	}
	for file, state := range states {
		if _, doubted := s.suspicion.files[file]; !doubted {
			s.stats[file] = state
		}
	}
	s.mu.Unlock()
	return s.resume.compact(s.snapshot)
}

func (y *syncer) trustedLocked(piece int) bool {
	s := y.s
	if _, unsure := s.unsure[piece]; unsure {
		return false
	}
	for f := range s.lay.filesOf(piece) {
		if _, bad := s.unsyncable[f]; bad {
			return false
		}
	}
	return true
}

// parents yields the directories above a name, the root "." included.
func parents(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for name != "." {
			name = path.Dir(name)
			if !yield(name) {
				return
			}
		}
	}
}
