package cache

import (
	"container/list"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"torrentfs/cache/resume"
	"torrentfs/cache/state"
	"torrentfs/cache/vfs"
	"torrentfs/metainfo"
)

// Options of one store. The callbacks are called from the store's own
// goroutines or from within its methods, never under a lock; they must be
// quick and must not call Sync or Close.
type Options struct {
	// DataDir is where the torrent's top-level entry lies or will lie. It is
	// made if it is missing.
	DataDir string
	// FS replaces DataDir's file system (tests). The store closes it.
	FS vfs.FS
	// Hashes judge the files that lie in DataDir and are not known to be ours:
	// those with none of the torrent's content are left as they are. nil: all
	// that lies under the torrent's names may be overwritten.
	Hashes Hashes
	// SeedOnly has no file made, and leaves all files under their names.
	SeedOnly bool
	// KeepFree is how much of the file system is left free, in bytes: a write
	// that would take it fails as on a full disk. 0 means 1 percent of it, at
	// most 1 GiB; negative means nothing.
	KeepFree int64
	// UnverifiedMemory bounds the blocks that are written but not verified
	// and kept in memory for the hasher, in bytes. 0 means 32 MiB.
	UnverifiedMemory int64

	// Purpose is what the store is opened for, such as "torrentfs mount on
	// /mnt/film". Another process that wants the same folder is told.
	Purpose string

	Logger *slog.Logger
	// OnError is called with a [*DiskError] when the disk begins to fail:
	// once for each episode, which ends when a write or sync works again.
	OnError func(error)
	// OnFileComplete is called when the last byte of a file has been verified
	// and written; not for files that are complete when the store is opened.
	OnFileComplete func(file int)

	onWritten func() // tests: Dirty has shrunk
}

// Store is the content of one torrent. Its methods may be called from any
// goroutine. Piece, block and file numbers out of range panic.
type Store struct {
	// immutable
	cache *Cache
	fs    vfs.FS
	lay   *layout
	opt   Options
	log   *slog.Logger
	ord   uint64 // first part of the keys in the memory tier
	place place
	locks locks
	space diskSpace
	guard *closeGuard

	closing atomic.Bool

	resume *stateFiles
	disk   diskHealth
	write  *writer
	sync   *syncer

	// read without a lock
	states    pieceStates
	complete  sharedBits    // files whose pieces are all sealed
	dirty     atomic.Int64  // bytes put and not yet written
	forgotten atomic.Uint64 // pieces given up so far: what was read across a change is read again

	// guarded by mu, which is held over no I/O and no callback
	mu         sync.Mutex
	pieces     map[int]*pieceBuf // with blocks, and not sealed
	queue      []item            // blocks that wait for the disk
	queued     int64             // bytes in queue
	unverified list.List         // *pieceBuf with blocks written, kept and not verified; oldest first
	kept       int64             // bytes of these
	fileBytes  []int64
	stats      []resume.FileState // of files: the states in which they hold what is durable
	toJournal  []int              // sealed, not yet durable
	untold     map[int]struct{}   // pieces with blocks verified by themselves and not yet journaled
	dirtyFiles map[int]struct{}
	dirtyDirs  map[string]struct{}
	suspicion  suspicion        // of hashes that were taken before a file changed
	unsyncable map[int]struct{} // files of which a sync failed, until one works: nothing of them is journaled
	unsure     map[int]struct{} // pieces of which a failed sync may have cost something: they are not journaled
	rewrites   map[int]struct{} // of these, sealed ones that are to be written again
	rechecks   map[int]struct{} // sealed ones that Events is to return
	filling    map[int]struct{} // pieces that Fill wrote and nobody judged yet
	pins       map[int]*pin     // files handed out by Backing
	watches    map[int]*watch   // of files that were opened
	toLose     []int            // doubted, and still held for the journal

	stale bool // the resume data on disk says less than we know

	news chan struct{} // holds a token: there are events, or bytes were written
	done chan struct{}
	wg   sync.WaitGroup
}

// Has reports whether the piece is verified and can be read.
func (s *Store) Has(piece metainfo.Piece) bool { return s.states.readable(piece) }

// Path is where a file lies below the data folder.
func (s *Store) Path(file int) string { return s.lay.files[file].Path }

// Held returns the pieces that can be read: after Open, those that the resume
// data vouches for. The caller owns the copy; piece i is bit i%64 of word i/64.
func (s *Store) Held() []uint64 {
	return s.states.those(s.lay.pieces, state.Piece.Readable)
}

// InDoubt returns the pieces that have bytes on disk which nobody vouches
// for. The caller hashes them (through Unverified), and then calls
// Commit or Discard. Pieces that are padding throughout are among them, too.
func (s *Store) InDoubt() []uint64 {
	return s.states.those(s.lay.pieces, isInDoubt)
}

// Dirty is the number of bytes put and not yet written. It grows without
// bound when the disk fails or is slower than the swarm: the caller of Put holds
// back when it is too high, and goes on at [Store.Changed].
func (s *Store) Dirty() int64 { return s.dirty.Load() }

// ReadOnly returns why nothing is written to the data folder, nil if it is. What
// lies there is read and verified; what is fetched stays in memory.
func (s *Store) ReadOnly() error { return s.resume.refused }

// Err returns the error of the disk's present trouble, nil when all is well.
func (s *Store) Err() error {
	return s.disk.err()
}

// FileComplete reports whether all of a file is verified and written.
func (s *Store) FileComplete(file int) bool { return s.complete.has(file) }

// FileBytes is how much of a file is verified and written, in bytes.
func (s *Store) FileBytes(file int) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fileBytes[file]
}

// Sync writes all that was put, syncs it and journals what is verified: when
// it returns nil, that survives a crash.
func (s *Store) Sync(ctx context.Context) error {
	if !s.guard.enter() {
		return ErrClosed
	}
	defer s.guard.leave()
	for _, to := range []chan chan error{s.write.flush, s.sync.syncNow} {
		reply := make(chan error, 1)
		select {
		case to <- reply:
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case err := <-reply:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Close is the clean stop: it waits for the calls inside, writes what is
// left, syncs, publishes the resume data (so that the next Open needs no
// hashing) and gives up the lock. Verified blocks that cannot be written are
// lost then, and the error says so. From a disk that hangs it comes back in
// time, with a [HangError]. Further calls of Close do nothing.
func (s *Store) Close() error {
	if !s.closing.CompareAndSwap(false, true) {
		return nil
	}
	if err := s.closeInTime(s.close); err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}

func (s *Store) close() error {
	s.guard.shut()
	close(s.done)
	s.wg.Wait()
	err := s.finish()
	if err == nil && len(s.rewrites) > 0 { // the sync worked again just now
		err = s.finish()
	}
	if perr := s.sync.publish(); err == nil {
		err = perr
	}
	s.sync.catalogue(time.Now(), true)
	s.resume.close()
	for _, p := range s.pins {
		s.cache.files.release(p.h)
	}
	s.cache.files.closeStore(s)
	s.unlock()
	s.cache.abandon(s)
	return err
}

// finish writes and syncs what is left.
func (s *Store) finish() error {
	err := s.write.writeAll()
	for more := err == nil; more; {
		more, err = s.write.rewriteSome()
		more = more && err == nil
	}
	if serr := s.sync.syncBatch(); err == nil {
		err = serr
	}
	return err
}

func (s *Store) unlock() {
	s.locks.unlock()
	_ = s.fs.Close()
}

// DiskError says what the disk refused, where, and what to do about it.
type DiskError struct {
	Op   string // what was being done
	Path string // below the data folder
	Err  error
}

func (e *DiskError) Error() string {
	return fmt.Sprintf("%s %s: %v: %s", e.Op, e.Path, e.Err, advice(e.Err))
}

func (e *DiskError) Unwrap() error { return e.Err }

// key names a block in the memory tier.
func (s *Store) key(piece, block int) uint64 { return s.ord<<40 | s.lay.key(piece, block) }
