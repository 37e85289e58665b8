package cache

import (
	"errors"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"torrentfs/cache/resume"
	"torrentfs/cache/vfs"
	"torrentfs/internal/crashfs"
)

// hangingFS is a disk that does not answer while it is told not to.
type hangingFS struct {
	vfs.FS
	mu    sync.Mutex
	hangs map[string]chan struct{} // by operation; closed when it is over
}

func (f *hangingFS) hang(ops ...string) (over func()) {
	gate := make(chan struct{})
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hangs = make(map[string]chan struct{})
	for _, op := range ops {
		f.hangs[op] = gate
	}
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.hangs = nil
		close(gate)
	}
}

func (f *hangingFS) wait(op string) {
	f.mu.Lock()
	gate := f.hangs[op]
	f.mu.Unlock()
	if gate != nil {
		<-gate
	}
}

func (f *hangingFS) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	if !strings.HasPrefix(name, resume.StateDir) {
		f.wait("open")
	}
	h, err := f.FS.OpenFile(name, flag, perm)
	return &hangingFile{h, f}, err
}

func (f *hangingFS) Lstat(name string) (vfs.Info, error) {
	f.wait("stat")
	return f.FS.Lstat(name)
}

type hangingFile struct {
	vfs.File
	fs *hangingFS
}

func (h *hangingFile) ReadAt(p []byte, off int64) (int, error) {
	h.fs.wait("read")
	return h.File.ReadAt(p, off)
}

func (h *hangingFile) WriteVectorAt(bufs [][]byte, off int64) (int, error) {
	h.fs.wait("write")
	return h.File.WriteVectorAt(bufs, off)
}

func (h *hangingFile) Sync() error {
	h.fs.wait("sync")
	return h.File.Sync()
}

// A disk that does not answer costs the first reader a while, the others
// nothing; one word says what it does not answer and since when. When it answers again all
// is there.
func TestReadOfDiskThatHangs(t *testing.T) {
	tor := crashTorrent(t)
	synctest.Test(t, func(t *testing.T) {
		disk, said := &hangingFS{FS: crashfs.New()}, &reports{}
		s := openStore(t, newCache(t, minMemory), tor, Options{FS: disk})
		tor.fetchAll(s)
		closeStore(t, s)
		c := newCache(t, minMemory)
		s = openStore(t, c, tor, Options{FS: disk, OnError: said.add})
		other := openStore(t, c, tor, Options{FS: crashfs.New()})
		tor.fetchAll(other)
		begun := time.Now()
		over := disk.hang("read", "stat", "open")
		var wg sync.WaitGroup
		for p := range tor.NumPieces() {
			wg.Go(func() {
				buf := make([]byte, 1000)
				n, err := s.ReadAt(buf, int64(p)*tor.PieceLength())
				if n != 0 || !hangs(err) {
					t.Errorf("piece %d: %d bytes, %v", p, n, err)
				}
				invalidate(s, p, err)
			})
		}
		wg.Wait()
		if took := time.Since(begun); took > hangTime {
			t.Errorf("the readers waited for %v", took)
		}
		begun = time.Now()
		for p := range tor.NumPieces() {
			if _, err := s.ReadAt(make([]byte, 1), int64(p)*tor.PieceLength()); err == nil {
				t.Errorf("piece %d can be read", p)
			}
			if _, ok := s.Backing(4); ok {
				t.Error("a file of a disk that hangs is handed out")
			}
			tor.check(t, other, p) // another disk is none the worse
		}
		if took := time.Since(begun); took > 0 {
			t.Errorf("once it was known that the disk hangs, readers waited for %v", took)
		}
		errs := said.take()
		if len(errs) != 1 || !hangs(errs[0]) || !strings.Contains(errs[0].Error(), "no answer from the disk since ") || !strings.Contains(errs[0].Error(), "top/") {
			t.Errorf("reported: %v", errs)
		}
		over()
		synctest.Wait()
		for p := range tor.NumPieces() {
			if !s.Has(p) && !tor.hash(s, p) {
				t.Errorf("piece %d is not there any more", p)
			}
			tor.check(t, s, p)
		}
		closeStore(t, other)
		closeStore(t, s)
	})
}

// A disk that hangs in a write or a sync holds up neither readers nor, for
// long, the end; one word says so.
func TestCloseOnDiskThatHangs(t *testing.T) {
	tor := crashTorrent(t)
	for _, op := range []string{"write", "sync", "open"} {
		t.Run(op, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk, said := &hangingFS{FS: crashfs.New()}, &reports{}
				s := openStore(t, newCache(t, 8<<20), tor, Options{FS: disk, OnError: said.add})
				over := disk.hang(op)
				tor.fetchAll(s)
				time.Sleep(time.Minute)
				for p := range tor.NumPieces() {
					tor.check(t, s, p)
				}
				errs := said.take()
				if de := (*DiskError)(nil); len(errs) != 1 || !errors.As(errs[0], &de) || !hangs(errs[0]) || s.Err() == nil {
					t.Errorf("reported: %v, err %v", errs, s.Err())
				}
				begun := time.Now()
				if err := s.Close(); !hangs(err) {
					t.Errorf("Close: %v", err)
				}
				if took := time.Since(begun); took > 2*hangTime {
					t.Errorf("Close took %v", took)
				}
				over()
				time.Sleep(time.Minute)
			})
		})
	}
}
