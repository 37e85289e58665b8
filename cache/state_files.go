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

	"torrentfs/cache/resume"
	"torrentfs/cache/vfs"
)

// compactJournal is the length, in bytes, at which the journal is folded into a new snapshot.
const compactJournal = 1 << 20

// stateFiles publishes snapshots and appends to the journal. Its lock is a leaf
// held over short writes to its own two files, which the loop of a torrent
// never waits for; the slow part, the sync, happens outside of it.
type stateFiles struct {
	fs   vfs.FS
	id   resume.Identity
	base string // stateDir/<info-hash>

	// refused is why the folder takes no resume data, nil if it does. Then nothing is vouched for, and no
	// payload is written: [Store.beforeWrite] fails, and the rest does nothing. Set before use.
	refused error

	mu      sync.Mutex
	gen     uint64
	journal vfs.File // nil until begin
	end     int64
	number  uint32 // of records
	synced  uint32 // of these
}

// load returns the last snapshot with its journal played onto it. A nil
// snapshot means that nobody vouches for anything; err says why, nil if there
// was none. With a snapshot, err says what of it cannot be relied on.
func (r *stateFiles) load() (*resume.Snapshot, error) {
	b, err := readFile(r.fs, r.base+".resume", r.id.MaxSnapshot())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s, err := resume.DecodeSnapshot(b, &r.id)
	if err != nil {
		return nil, err
	}
	r.gen = s.Generation
	if s.Clean {
		return s, nil
	}
	b, err = readFile(r.fs, r.base+".journal", resume.MaxJournal)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		s.DoubtAll()
		return s, err
	}
	return s, s.Play(b, &r.id)
}

// publish replaces the snapshot: data, sync, rename, sync of the directory.
// The generation is the snapshot's number; the journal before it is void.
func (r *stateFiles) publish(s *resume.Snapshot) error {
	r.gen++
	s.Generation, s.Time = r.gen, time.Now().UnixNano()
	if st, err := r.fs.Lstat(resume.StateDir); err == nil {
		s.StateIno = st.Ino
	}
	tmp := r.base + ".resume.tmp"
	f, err := r.fs.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return fmt.Errorf("publish resume data: %w", err)
	}
	_, err = f.WriteAt(s.Encode(&r.id), 0)
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
		err = r.fs.SyncDir(resume.StateDir)
	}
	if err != nil {
		return fmt.Errorf("publish resume data: %w", err)
	}
	return nil
}

// begin marks the session as unclean before the first thing is written, with
// the snapshot that make returns. When it has begun it does nothing.
func (r *stateFiles) begin(make func() *resume.Snapshot) error {
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
func (r *stateFiles) compact(make func() *resume.Snapshot) error {
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
func (r *stateFiles) restart(f vfs.File, s *resume.Snapshot) error {
	if err := r.publish(s); err != nil {
		return err
	}
	err := f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt(resume.AppendJournalHeader(nil, r.gen), 0)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = r.fs.SyncDir(resume.StateDir)
	}
	if err != nil {
		return fmt.Errorf("begin journal: %w", err)
	}
	r.end, r.number, r.synced = resume.JournalHeaderLen, 0, 0
	return nil
}

// append writes records; they are durable after sync.
func (r *stateFiles) append(recs ...resume.Record) error {
	return r.appendMade(func() []resume.Record { return recs })
}

// appendMade is append for records that hold at the time of the call: no other
// is written in between.
func (r *stateFiles) appendMade(make func() []resume.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	recs := make()
	if r.refused != nil || len(recs) == 0 {
		return nil
	}
	if r.journal == nil {
		return errors.New("append to journal: not begun")
	}
	b := []byte(nil)
	for i, rec := range recs {
		b = resume.AppendRecord(b, r.gen, r.number+uint32(i), r.synced, rec)
	}
	if _, err := r.journal.WriteAt(b, r.end); err != nil {
		return fmt.Errorf("append to journal: %w", err) // the next one overwrites it
	}
	r.end += int64(len(b))
	r.number += uint32(len(recs))
	return nil
}

func (r *stateFiles) sync() error {
	r.mu.Lock()
	f, gen, number := r.journal, r.gen, r.number
	r.mu.Unlock()
	if f == nil {
		return nil
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync journal: %w", err)
	}
	r.mu.Lock()
	if r.gen == gen {
		r.synced = max(r.synced, number)
	}
	r.mu.Unlock()
	return nil
}

// finish publishes the clean snapshot and removes the journal.
func (r *stateFiles) finish(s *resume.Snapshot) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refused != nil {
		return nil
	}
	s.Clean = true
	if err := r.publish(s); err != nil {
		return err
	}
	r.drop()
	_ = r.fs.Remove(r.base + ".journal") // void already
	return nil
}

// begun reports whether the session is marked as unclean on disk.
func (r *stateFiles) begun() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.journal != nil
}

// close closes the journal as it is.
func (r *stateFiles) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop()
}

// drop closes the journal; mu is held.
func (r *stateFiles) drop() {
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
		return nil, fmt.Errorf("read %s: %w: %d bytes", path.Base(name), resume.ErrInvalid, st.Size)
	}
	b := make([]byte, st.Size)
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return b, nil
}
