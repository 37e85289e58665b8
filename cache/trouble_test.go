package cache

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"torrentfs/cache/resume"
	"torrentfs/cache/vfs"
	"torrentfs/internal/bitset"
	"torrentfs/internal/crashfs"
)

// reports collects what OnError says.
type reports struct {
	mu   sync.Mutex
	errs []error
}

func (r *reports) add(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errs = append(r.errs, err)
}

func (r *reports) take() []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	errs := r.errs
	r.errs = nil
	return errs
}

func failing(kind, prefix string, err error) func(crashfs.Op) error {
	return func(op crashfs.Op) error {
		if op.Kind == kind && strings.HasPrefix(op.Name, prefix) {
			return err
		}
		return nil
	}
}

// A full disk loses nothing that was put: it is readable, held back, reported
// once, and written when there is room.
func TestDiskFull(t *testing.T) {
	tor := crashTorrent(t)
	synctest.Test(t, func(t *testing.T) {
		disk, said := crashfs.New(), &reports{}
		s := openStore(t, newCache(t, minMemory), tor, Options{FS: disk, OnError: said.add})
		tor.fetch(s, 0)
		syncStore(t, s)
		disk.Inject(failing("write", "top/", syscall.ENOSPC))
		for range 2 { // two episodes
			for p := range 4 {
				tor.fetch(s, p)
				_ = s.Forget(p) // some of them again, while there is trouble
				tor.fetch(s, p)
			}
			time.Sleep(5 * time.Minute)
			for p := range 4 {
				tor.check(t, s, p)
			}
			errs := said.take()
			var de *DiskError
			if len(errs) != 1 || !errors.As(errs[0], &de) || de.Path != "top/a/one" || !errors.Is(de, syscall.ENOSPC) ||
				!strings.Contains(de.Error(), "free some space") {
				t.Errorf("reported: %v", errs)
			}
			if s.Dirty() == 0 || !errors.Is(s.Err(), syscall.ENOSPC) {
				t.Errorf("dirty %d, err %v", s.Dirty(), s.Err())
			}
			if err := s.Sync(t.Context()); !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("Sync: %v", err)
			}
			disk.Inject(nil)
			time.Sleep(retryMost + time.Second)
			if s.Dirty() != 0 || s.Err() != nil {
				t.Errorf("afterwards dirty %d, err %v", s.Dirty(), s.Err())
			}
			for p := range 4 {
				tor.check(t, s, p)
				if err := s.Forget(p); err != nil {
					t.Error(err)
				}
			}
			disk.Inject(failing("write", "top/", syscall.ENOSPC))
		}
		disk.Inject(nil)
		closeStore(t, s)
		closeStore(t, s)
	})
}

// One file that cannot be written does not keep the others from it.
func TestOneBadFile(t *testing.T) {
	tor := crashTorrent(t)
	synctest.Test(t, func(t *testing.T) {
		disk := crashfs.New()
		disk.Inject(failing("create", "top/b/c/two", syscall.EACCES))
		var complete []int
		s := openStore(t, newCache(t, minMemory), tor, Options{FS: disk, OnFileComplete: func(f int) { complete = append(complete, f) }})
		tor.fetchAll(s)
		time.Sleep(time.Second / 2)
		// Whole pieces count: those that the bad file has a part of do not.
		if len(complete) != 0 || s.FileBytes(0) != 98_304 || s.FileBytes(4) != 240_002-163_840 {
			t.Errorf("complete: %v, %d and %d bytes", complete, s.FileBytes(0), s.FileBytes(4))
		}
		if d := s.Dirty(); d == 0 || d > 50_000+4*16<<10 {
			t.Errorf("dirty %d, want the blocks of one file", d)
		}
		disk.Inject(nil)
		syncStore(t, s)
		if len(complete) != 4 {
			t.Errorf("complete: %v", complete)
		}
		closeStore(t, s)
	})
}

// After a failed sync the system may say yes to the next one although the
// data is gone: the file's pieces are hashed at the next start.
func TestFailedSync(t *testing.T) {
	tor := crashTorrent(t)
	synctest.Test(t, func(t *testing.T) {
		disk, said := crashfs.New(), &reports{}
		c := newCache(t, minMemory)
		s := openStore(t, c, tor, Options{FS: disk, OnError: said.add})
		disk.Inject(failing("sync", "top/a/one", syscall.EIO))
		tor.fetchAll(s)
		if err := s.Sync(t.Context()); !errors.Is(err, syscall.EIO) {
			t.Errorf("Sync: %v", err)
		}
		disk.Inject(nil)
		syncStore(t, s)
		if errs := said.take(); len(errs) != 1 {
			t.Errorf("reported: %v", errs)
		}
		closeStore(t, s)
		s = openStore(t, c, tor, Options{FS: disk})
		for p := range tor.NumPieces() {
			inOne := int64(p)*tor.PieceLength() < 100_000
			if s.Has(p) == inOne || bitset.Set(s.InDoubt()).Has(p) != inOne {
				t.Errorf("piece %d: held %v, doubtful %v", p, s.Has(p), bitset.Set(s.InDoubt()).Has(p))
			}
			if inOne && !tor.hash(s, p) {
				t.Errorf("piece %d is wrong", p)
			}
		}
		closeStore(t, s)
	})
}

// Where resume data cannot be written nothing is written at all (a crash
// would find files that changed behind its back), and nothing is lost.
func TestNoResumeNoWrite(t *testing.T) {
	tor := crashTorrent(t)
	synctest.Test(t, func(t *testing.T) {
		disk, said := crashfs.New(), &reports{}
		s := openStore(t, newCache(t, minMemory), tor, Options{FS: disk, OnError: said.add})
		disk.Inject(failing("create", resume.StateDir, syscall.ENOSPC))
		tor.fetchAll(s)
		time.Sleep(10 * time.Second)
		if s.Dirty() == 0 || len(said.take()) != 1 {
			t.Errorf("dirty %d, err %v", s.Dirty(), s.Err())
		}
		disk.Inject(nil)
		time.Sleep(retryMost + time.Second)
		if s.Dirty() != 0 || s.Err() != nil {
			t.Errorf("dirty %d, err %v", s.Dirty(), s.Err())
		}
		closeStore(t, s)
	})
}

// A read error of the disk is the reader's, and says where.
func TestReadError(t *testing.T) {
	tor := crashTorrent(t)
	synctest.Test(t, func(t *testing.T) {
		disk := crashfs.New()
		s := openStore(t, newCache(t, minMemory), tor, Options{FS: disk})
		tor.fetchAll(s)
		closeStore(t, s)
		s = openStore(t, newCache(t, minMemory), tor, Options{FS: disk})
		disk.Inject(failing("read", "top/three", syscall.EIO))
		buf := make([]byte, tor.Size())
		n, err := s.ReadAt(buf, 0)
		var de *DiskError
		if !errors.As(err, &de) || de.Path != "top/three" || !errors.Is(err, syscall.EIO) || errors.Is(err, ErrMissing) || n != 150_001/(16<<10)*16<<10 {
			t.Errorf("%d bytes, %v: want all blocks before the fault", n, err)
		}
		disk.Inject(nil)
		if _, err := s.ReadAt(buf, 0); err != nil && err != io.EOF {
			t.Error(err)
		}
		truncate(t, disk, "top/three", 5)
		if _, err := s.ReadAt(buf, 0); !errors.Is(err, ErrMissing) {
			t.Errorf("of a file that was cut short: %v", err)
		}
		closeStore(t, s)
	})
}

// A read that fails is tried again, block by block: a disk that fails each
// second time gives all of it, with one word in the log.
func TestReadIsTriedAgain(t *testing.T) {
	tor := crashTorrent(t)
	synctest.Test(t, func(t *testing.T) {
		disk, said := crashfs.New(), &reports{}
		s := openStore(t, newCache(t, minMemory), tor, Options{FS: disk})
		tor.fetchAll(s)
		closeStore(t, s)
		s = openStore(t, newCache(t, minMemory), tor, Options{FS: disk, OnError: said.add})
		reads := 0
		disk.Inject(func(op crashfs.Op) error {
			if op.Kind == "read" {
				if reads++; reads%2 == 1 {
					return syscall.EIO
				}
			}
			return nil
		})
		for p := range tor.NumPieces() {
			tor.check(t, s, p)
		}
		if errs := said.take(); len(errs) != 1 || !errors.Is(errs[0], syscall.EIO) {
			t.Errorf("reported: %v", errs)
		}
		closeStore(t, s)
	})
}

// What was replaced right after a crash is not taken for ours, however young.
func TestReplacedAfterCrash(t *testing.T) {
	tor := crashTorrent(t)
	synctest.Test(t, func(t *testing.T) {
		disk := crashfs.New()
		c := newCache(t, minMemory)
		s := openStore(t, c, tor, Options{FS: disk})
		tor.fetchAll(s)
		syncStore(t, s)
		after := disk.Kill()
		closeStore(t, s)
		time.Sleep(100 * time.Millisecond)
		must(t, after.Remove("top/three"))
		rewrite(t, after, "top/three", make([]byte, 90_001))
		s = openStore(t, c, tor, Options{FS: after})
		for p := range tor.NumPieces() {
			if s.Has(p) {
				tor.check(t, s, p)
			}
		}
		if !s.Has(0) || s.Has(tor.NumPieces()-1) {
			t.Errorf("held %b", s.Held())
		}
		closeStore(t, s)
	})
}

func TestSyncIsCancelled(t *testing.T) {
	tor := crashTorrent(t)
	synctest.Test(t, func(t *testing.T) {
		disk := crashfs.New()
		hang := make(chan struct{})
		s := openStore(t, newCache(t, minMemory), tor, Options{FS: disk, onWritten: func() { <-hang }})
		tor.fetch(s, 0)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Sync(ctx); !errors.Is(err, ctx.Err()) || err == nil {
			t.Errorf("Sync: %v", err)
		}
		close(hang)
		closeStore(t, s)
		if err := s.Sync(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("Sync after Close: %v", err)
		}
	})
}

// A file system that is mounted read-only can be seeded from, and torn down.
func TestReadOnlyFileSystem(t *testing.T) {
	tor := crashTorrent(t)
	synctest.Test(t, func(t *testing.T) {
		disk, said := crashfs.New(), &reports{}
		s := openStore(t, newCache(t, minMemory), tor, Options{FS: disk})
		tor.fetchAll(s)
		closeStore(t, s)
		must(t, disk.Remove(resume.StateDir+"/"+tor.Hash.String()+".resume"))
		disk.Inject(func(op crashfs.Op) error {
			switch op.Kind {
			case "open", "read", "sync":
				return nil
			}
			return syscall.EROFS
		})
		s = openStore(t, newCache(t, minMemory), tor, Options{FS: disk, OnError: said.add})
		for p := range tor.NumPieces() {
			if !tor.hash(s, p) {
				t.Errorf("piece %d is wrong", p)
			}
			tor.check(t, s, p)
		}
		time.Sleep(time.Minute)
		if errs := said.take(); len(errs) != 0 {
			t.Errorf("reported, though there was nothing to write: %v", errs)
		}
		if err := s.Sync(t.Context()); err != nil || s.ReadOnly() == nil {
			t.Errorf("Sync: %v, ReadOnly: %v", err, s.ReadOnly())
		}
		closeStore(t, s)
	})
}

// What is to be written to a file system that is mounted read-only stays in
// memory, and is complained of once, by its cause; it is lost when it ends.
func TestReadOnlyFileSystemTakesNothing(t *testing.T) {
	tor := crashTorrent(t)
	synctest.Test(t, func(t *testing.T) {
		disk, said := crashfs.New(), &reports{}
		disk.Inject(func(op crashfs.Op) error {
			switch op.Kind {
			case "open", "read", "sync":
				return nil
			}
			return syscall.EROFS
		})
		s := openStore(t, newCache(t, minMemory), tor, Options{FS: disk, OnError: said.add})
		tor.fetchAll(s)
		time.Sleep(time.Minute)
		if errs := said.take(); len(errs) != 1 || !errors.Is(errs[0], syscall.EROFS) {
			t.Errorf("reported: %v", errs)
		}
		for p := range tor.NumPieces() {
			tor.check(t, s, p)
		}
		if err := s.Close(); !errors.Is(err, syscall.EROFS) {
			t.Errorf("Close: %v", err)
		}
	})
}

// A disk that refuses everything for one cause is complained of once, and
// praised once; a second cause is news.
func TestOneCauseIsSaidOnce(t *testing.T) {
	tor := crashTorrent(t)
	synctest.Test(t, func(t *testing.T) {
		disk, said := crashfs.New(), &reports{}
		s := openStore(t, newCache(t, minMemory), tor, Options{FS: disk, OnError: said.add})
		tor.fetch(s, 0)
		time.Sleep(gatherTime * 2) // written, not synced
		disk.Inject(func(crashfs.Op) error { return syscall.EIO })
		tor.fetch(s, 1)
		time.Sleep(time.Minute)
		if n := len(said.take()); n != 1 {
			t.Errorf("said %d times that nothing works, want once", n)
		}
		disk.Inject(failing("write", "top/", syscall.ENOSPC))
		time.Sleep(time.Minute)
		if errs := said.take(); len(errs) != 0 || !errors.Is(s.Err(), syscall.ENOSPC) {
			t.Errorf("an episode that goes on was reported: %v; now %v", errs, s.Err())
		}
		disk.Inject(nil)
		time.Sleep(time.Minute)
		if s.Err() != nil {
			t.Errorf("afterwards: %v", s.Err())
		}
		closeStore(t, s)
	})
}

// While a file cannot be synced it is tried again, until that works.
func TestSyncIsTriedAgain(t *testing.T) {
	tor := crashTorrent(t)
	synctest.Test(t, func(t *testing.T) {
		disk := crashfs.New()
		s := openStore(t, newCache(t, minMemory), tor, Options{FS: disk})
		disk.Inject(failing("sync", "top/", syscall.EIO))
		tor.fetchAll(s)
		time.Sleep(time.Minute)
		if !errors.Is(s.Err(), syscall.EIO) {
			t.Errorf("in the trouble: %v", s.Err())
		}
		disk.Inject(nil)
		time.Sleep(2 * syncRetry)
		if s.Err() != nil {
			t.Errorf("after the trouble: %v", s.Err())
		}
		closeStore(t, s)
	})
}

// A file on a disk that is gone is not handed out: the kernel would read from
// it without us. Nor is it while the disk has failed to read not long ago.
func TestBadDiskIsNotHandedOut(t *testing.T) {
	tor := crashTorrent(t)
	dir := t.TempDir()
	disk := openDisk(t, dir)
	s := openStore(t, newCache(t, minMemory), tor, Options{FS: disk})
	tor.fetchAll(s)
	syncStore(t, s)
	if _, ok := s.Backing(0); !ok {
		t.Fatal("a good file is not handed out")
	}
	s.ReleaseBacking(0)
	s.disk.probed = time.Time{}
	disk.bad = true
	if _, ok := s.Backing(0); ok || !errors.Is(s.Err(), syscall.EIO) {
		t.Errorf("handed out: %v, %v", ok, s.Err())
	}
	disk.bad = false
	if _, ok := s.Backing(0); ok {
		t.Error("handed out right after it failed")
	}
	if _, _, ok := s.Section(0, 100); ok {
		t.Error("lent right after it failed")
	}
	s.disk.readFailed = time.Now().Add(-2 * quiet)
	if _, ok := s.Backing(0); !ok {
		t.Error("not handed out a while later")
	}
	closeStore(t, s)
}

// badDisk is a real file system of which the files do not read while it is bad.
type badDisk struct {
	vfs.FS
	bad bool
}

func openDisk(t *testing.T, dir string) *badDisk {
	t.Helper()
	f, err := vfs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return &badDisk{FS: f}
}

func (d *badDisk) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	f, err := d.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &badFile{f, d}, nil
}

type badFile struct {
	vfs.File
	disk *badDisk
}

func (f *badFile) Probe(off int64) error {
	if f.disk.bad {
		return syscall.EIO
	}
	return f.File.Probe(off)
}

// A disk that has been at one write for long has what waits behind it given
// up, like one that refuses.
func TestShedBehindAStalledWrite(t *testing.T) {
	tor := crashTorrent(t)
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		s := openStore(t, newCache(t, minMemory), tor, Options{FS: crashfs.New(), onWritten: func() { <-hang }})
		tor.fetch(s, 0)
		time.Sleep(2 * gatherTime) // the writer hangs in the callback
		for p := 1; p < 4; p++ {
			tor.fetch(s, p)
		}
		if lost := s.Drop(0); s.Stalled() || lost != nil {
			t.Errorf("shed %v although nothing is under way", lost)
		}
		s.disk.setWriting(time.Now())
		time.Sleep(stallTime + time.Second)
		if lost := s.Drop(tor.PieceLength()); !s.Stalled() || len(lost) == 0 || lost[0] != 1 {
			t.Errorf("stalled %v, shed %v", s.Stalled(), lost)
		}
		close(hang)
		closeStore(t, s)
	})
}
