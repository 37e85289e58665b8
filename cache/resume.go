package cache

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sync"
	"time"

	"torrentfs/cache/vfs"
)

// stateDir holds the resume data below DataDir.
const stateDir = ".torrentfs"

// aliveEvery is how stale the journal's word on us being alive may get while
// we write; aliveSlack is what a file may be younger than it after a crash.
const (
	aliveEvery = time.Second
	aliveSlack = 3 * time.Second
)

// resume publishes snapshots and appends to the journal. Its lock is a leaf
// held over short writes to its own two files, which the loop of a torrent
// never waits for; the slow part, the sync, happens outside of it.
type resume struct {
	fs   vfs.FS
	id   identity
	base string // stateDir/<info-hash>

	// refused says why the folder takes no resume data, nil where it does. Then nothing is vouched for, and no
	// payload is written: [resume.live] fails, before each write, and the rest does nothing. Set before use.
	refused error

	mu      sync.Mutex
	gen     uint64
	journal vfs.File // nil until begin
	end     int64
	number  uint32
	alive   time.Time
}

// load returns the last snapshot with its journal played onto it, and when
// the writer last lived. A nil snapshot means that nobody vouches for
// anything; err says why, nil if there was none.
func (r *resume) load() (*snapshot, int64, error) {
	b, err := readFile(r.fs, r.base+".resume", r.id.maxSnapshot())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	s, err := decodeSnapshot(b, &r.id)
	if err != nil {
		return nil, 0, err
	}
	r.gen = s.gen
	if s.clean {
		return s, s.time, nil
	}
	b, err = readFile(r.fs, r.base+".journal", maxJournal)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return s, s.apply(b, &r.id), err
}

// publish replaces the snapshot: data, sync, rename, sync of the directory.
// The generation is the snapshot's number; the journal before it is void.
func (r *resume) publish(s *snapshot) error {
	r.gen++
	s.gen, s.time = r.gen, time.Now().UnixNano()
	tmp := r.base + ".resume.tmp"
	f, err := r.fs.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return fmt.Errorf("publish resume data: %w", err)
	}
	_, err = f.WriteAt(s.encode(&r.id), 0)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = r.fs.Rename(tmp, r.base+".resume")
	}
	if err == nil {
		err = r.fs.SyncDir(stateDir)
	}
	if err != nil {
		return fmt.Errorf("publish resume data: %w", err)
	}
	return nil
}

// begin marks the session as unclean before the first thing is written, with
// the snapshot that make returns. When it has begun it does nothing.
func (r *resume) begin(make func() *snapshot) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.journal != nil || r.refused != nil {
		return nil
	}
	f, err := r.fs.OpenFile(r.base+".journal", os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return fmt.Errorf("begin journal: %w", err)
	}
	if err := r.restart(f, make()); err != nil {
		_ = f.Close()
		return err
	}
	r.journal = f
	return nil
}

// compact folds a long journal into a new snapshot.
func (r *resume) compact(make func() *snapshot) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.journal == nil || r.end < compactJournal {
		return nil
	}
	if err := r.restart(r.journal, make()); err != nil {
		r.drop() // its header may be of another generation: begin anew
		return err
	}
	return nil
}

// restart publishes s and empties the journal f for its generation. A crash
// in between leaves a journal of an older generation, which is void.
func (r *resume) restart(f vfs.File, s *snapshot) error {
	if err := r.publish(s); err != nil {
		return err
	}
	err := f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt(appendJournalHeader(nil, r.gen), 0)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = r.fs.SyncDir(stateDir)
	}
	if err != nil {
		return fmt.Errorf("begin journal: %w", err)
	}
	r.end, r.number, r.alive = journalHeader, 0, time.Unix(0, s.time)
	return nil
}

// append writes records; they are durable after sync.
func (r *resume) append(recs ...record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.appendLocked(recs)
}

func (r *resume) appendLocked(recs []record) error {
	if r.refused != nil {
		return nil
	}
	if r.journal == nil {
		return errors.New("append to journal: not begun")
	}
	b := make([]byte, 0, len(recs)*recordLen)
	for i, rec := range recs {
		b = appendRecord(b, r.gen, r.number+uint32(i), rec)
	}
	if _, err := r.journal.WriteAt(b, r.end); err != nil {
		return fmt.Errorf("append to journal: %w", err) // the next one overwrites it
	}
	r.end += int64(len(b))
	r.number += uint32(len(recs))
	return nil
}

// live keeps the journal's word on us being alive fresh. It fails where no journal can be.
func (r *resume) live(now time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refused != nil {
		return r.refused
	}
	if now.Sub(r.alive) < aliveEvery {
		return nil
	}
	if err := r.appendLocked([]record{{kind: recAlive, value: uint64(now.UnixNano())}}); err != nil {
		return err
	}
	r.alive = now
	return nil
}

func (r *resume) sync() error {
	r.mu.Lock()
	f := r.journal
	r.mu.Unlock()
	if f == nil {
		return nil
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync journal: %w", err)
	}
	return nil
}

// finish publishes the clean snapshot and removes the journal.
func (r *resume) finish(s *snapshot) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refused != nil {
		return nil
	}
	s.clean = true
	if err := r.publish(s); err != nil {
		return err
	}
	r.drop()
	_ = r.fs.Remove(r.base + ".journal") // void already
	return nil
}

// begun reports whether the session is marked as unclean on disk.
func (r *resume) begun() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.journal != nil
}

// close closes the journal as it is.
func (r *resume) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop()
}

// drop closes the journal; mu is held.
func (r *resume) drop() {
	if r.journal != nil {
		_ = r.journal.Close()
		r.journal = nil
	}
}

// readFile reads a whole file that must not be longer than limit.
func readFile(fsys vfs.FS, name string, limit int) ([]byte, error) {
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st.Size > int64(limit) {
		return nil, fmt.Errorf("read %s: %w: %d bytes", path.Base(name), errResume, st.Size)
	}
	b := make([]byte, st.Size)
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return b, nil
}
