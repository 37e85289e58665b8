package cache

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"torrentfs/internal/bitset"
	"torrentfs/internal/crashfs"
	"torrentfs/metainfo"
)

// meddle is what somebody else does to top/b/c/two of crashTorrent, the bytes
// 100,001 to 150,000, while the store is open.
var meddle = map[string]func(*testing.T, *crashfs.FS){
	"overwritten": func(t *testing.T, d *crashfs.FS) { rewrite(t, d, "top/b/c/two", []byte("not what it was")) },
	"cut short":   func(t *testing.T, d *crashfs.FS) { truncate(t, d, "top/b/c/two", 10) },
	"lengthened":  func(t *testing.T, d *crashfs.FS) { truncate(t, d, "top/b/c/two", 60_000) },
	"removed":     func(t *testing.T, d *crashfs.FS) { must(t, d.Remove("top/b/c/two")) },
	"replaced": func(t *testing.T, d *crashfs.FS) {
		rewrite(t, d, "top/other", make([]byte, 50_000))
		must(t, d.Rename("top/other", "top/b/c/two"))
	},
	"emptied and filled with zeros": func(t *testing.T, d *crashfs.FS) {
		truncate(t, d, "top/b/c/two", 0)
		truncate(t, d, "top/b/c/two", 50_000)
	},
}

// recover does what the engine does after a read failed: doubt, hash, fetch.
func (tor *torrent) recover(t *testing.T, s *Store, piece int, err error) (doubted []int) {
	t.Helper()
	return tor.judge(t, s, invalidate(s, piece, err))
}

// judge hashes pieces that are doubtful, and fetches those that are wrong.
func (tor *torrent) judge(t *testing.T, s *Store, doubted []int) []int {
	t.Helper()
	for _, p := range doubted {
		if s.Has(p) || !bitset.Set(s.InDoubt()).Has(p) {
			t.Errorf("piece %d: held %v, doubtful %v after Doubt", p, s.Has(p), bitset.Set(s.InDoubt()).Has(p))
		}
		if !tor.hash(s, p) {
			tor.fetch(s, p)
		}
	}
	return doubted
}

// readSafely reads everything like a reader that never gives up. A wrong byte
// fails the test.
func (tor *torrent) readSafely(t *testing.T, s *Store) (doubted int) {
	t.Helper()
	for p := range tor.NumPieces() {
		for try := 0; ; try++ {
			got := make([]byte, tor.PieceSize(p))
			_, err := s.ReadAt(got, int64(p)*tor.PieceLength())
			if err == nil {
				break
			}
			if try == 3 {
				t.Fatalf("piece %d: %v", p, err)
			}
			if s.Has(p) {
				doubted += len(tor.recover(t, s, p, err))
			}
			doubted += len(tor.judge(t, s, untrusted(s)))
		}
		tor.check(t, s, p)
	}
	return doubted
}

// Whatever somebody does to a file that is in use: no wrong byte is read, only
// that file's pieces are hashed again, and what is wrong is fetched again.
func TestMeddledWhileOpen(t *testing.T) {
	tor := crashTorrent(t)
	for name, change := range meddle {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk := crashfs.New()
				s := openStore(t, newCache(t, minMemory), tor, Options{FS: disk})
				tor.fetchAll(s)
				syncStore(t, s)
				closeStore(t, s)
				first, last := int(100_001/tor.PieceLength()), int(150_000/tor.PieceLength())
				for range 3 { // again and again
					s = openStore(t, newCache(t, minMemory), tor, Options{FS: disk}) // nothing is in memory
					time.Sleep(time.Minute)
					change(t, disk)
					if n := tor.readSafely(t, s); n != last-first+1 && name != "lengthened" {
						t.Errorf("%d pieces were doubted, want %d", n, last-first+1)
					}
					syncStore(t, s)
					closeStore(t, s)
				}
				s = openStore(t, newCache(t, minMemory), tor, Options{FS: disk})
				if n := count(s.Held()); n != tor.NumPieces() {
					t.Errorf("%d of %d pieces held at the next start", n, tor.NumPieces())
				}
				tor.readSafely(t, s)
				closeStore(t, s)
			})
		})
	}
}

// A file that somebody changed and nobody read is not vouched for, neither
// after a clean stop nor after a crash once it was noticed.
func TestMeddledIsNotVouchedFor(t *testing.T) {
	tor := crashTorrent(t)
	for name, change := range meddle {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk := crashfs.New()
				s := openStore(t, newCache(t, minMemory), tor, Options{FS: disk})
				for p := range tor.NumPieces() - 1 {
					tor.fetch(s, p)
				}
				syncStore(t, s)
				time.Sleep(time.Second)
				change(t, disk)
				tor.fetch(s, tor.NumPieces()-1) // we go on writing, elsewhere
				closeStore(t, s)
				s = openStore(t, newCache(t, minMemory), tor, Options{FS: disk})
				tor.readAllHeld(t, s)
				tor.fetchAll(s)
				closeStore(t, s)

				s = openStore(t, newCache(t, minMemory), tor, Options{FS: disk})
				time.Sleep(time.Second)
				change(t, disk)
				for p := range tor.NumPieces() {
					if _, err := s.ReadAt(make([]byte, tor.PieceSize(p)), int64(p)*tor.PieceLength()); err != nil && s.Has(p) {
						invalidate(s, p, err)
					}
				}
				time.Sleep(2 * time.Second) // the journal hears of it
				after := disk.Kill()
				closeStore(t, s)
				s = openStore(t, newCache(t, minMemory), tor, Options{FS: after})
				tor.readAllHeld(t, s)
				closeStore(t, s)
			})
		})
	}
}

func (tor *torrent) readAllHeld(t *testing.T, s *Store) {
	t.Helper()
	for p := range tor.NumPieces() {
		if s.Has(p) {
			tor.check(t, s, p)
		}
	}
}

// A change that the store's own next write would cover is still noticed.
func TestMeddledBetweenWrites(t *testing.T) {
	tor := newTorrent(t, 2*metainfo.BlockSize, entry{path: "one", size: 20 * 2 * metainfo.BlockSize})
	synctest.Test(t, func(t *testing.T) {
		disk := crashfs.New()
		s := openStore(t, newCache(t, minMemory), tor, Options{FS: disk})
		for p := range 10 {
			tor.fetch(s, p)
		}
		syncStore(t, s)
		closeStore(t, s)
		s = openStore(t, newCache(t, minMemory), tor, Options{FS: disk})
		time.Sleep(time.Second)
		rewrite(t, disk, "top/one", []byte("somebody else's"))
		for p := 10; p < 20; p++ {
			tor.fetch(s, p)
			syncStore(t, s)
		}
		tor.readSafely(t, s)
		closeStore(t, s)
	})
}

// A date that changes without the content costs hashing, each time: what is
// changed after many of them is found as ever.
func TestFalseAlarmsAreHeeded(t *testing.T) {
	tor := crashTorrent(t)
	synctest.Test(t, func(t *testing.T) {
		disk := crashfs.New()
		s := openStore(t, newCache(t, minMemory), tor, Options{FS: disk})
		tor.fetchAll(s)
		closeStore(t, s)
		s = openStore(t, newCache(t, minMemory), tor, Options{FS: disk})
		forget := func() { s.ord = s.cache.last.Add(1) } // what is in memory
		for i := range 10 {
			time.Sleep(time.Second)
			must(t, disk.SetMTime("top/three", int64(i)))
			forget()
			if tor.readSafely(t, s) == 0 {
				t.Errorf("alarm %d: nothing was hashed", i)
			}
		}
		rewrite(t, disk, "top/three", []byte("other bytes"))
		forget()
		if tor.readSafely(t, s) == 0 {
			t.Error("a change was not noticed")
		}
		closeStore(t, s)
	})
}

// A disk that does not read: one error, and the piece is had from elsewhere.
func TestUnreadablePiece(t *testing.T) {
	tor := crashTorrent(t)
	synctest.Test(t, func(t *testing.T) {
		disk, said := crashfs.New(), &reports{}
		s := openStore(t, newCache(t, minMemory), tor, Options{FS: disk})
		tor.fetchAll(s)
		closeStore(t, s)
		s = openStore(t, newCache(t, minMemory), tor, Options{FS: disk, OnError: said.add})
		disk.Inject(failing("read", "top/three", syscall.EIO))
		for range 3 {
			s.ord = s.cache.last.Add(1) // forgets what is in memory
			tor.readSafely(t, s)
		}
		if errs := said.take(); len(errs) != 1 || !errors.Is(errs[0], syscall.EIO) || !errors.Is(s.Err(), syscall.EIO) {
			t.Errorf("reported %v, now %v", errs, s.Err())
		}
		disk.Inject(nil)
		time.Sleep(2 * quiet)
		tor.readSafely(t, s)
		if s.Err() != nil {
			t.Errorf("still in trouble: %v", s.Err())
		}
		closeStore(t, s)
	})
}

// While the disk refuses, what waits for it is bounded by giving up the
// oldest; what is left is right, and all is well when the disk is.
func TestShed(t *testing.T) {
	tor := crashTorrent(t)
	synctest.Test(t, func(t *testing.T) {
		disk := crashfs.New()
		s := openStore(t, newCache(t, minMemory), tor, Options{FS: disk})
		tor.fetch(s, 0)
		if lost := s.Drop(0); lost != nil {
			t.Errorf("shed %v while the disk works", lost)
		}
		syncStore(t, s)
		disk.Inject(failing("write", "top/", syscall.ENOSPC))
		most := 3 * tor.PieceLength()
		for p := 1; p < tor.NumPieces(); p++ {
			tor.fetch(s, p)
			time.Sleep(time.Second)
			for _, l := range s.Drop(most) {
				if l == p || s.Has(l) {
					t.Errorf("piece %d: shed %d, held %v", p, l, s.Has(l))
				}
			}
			if s.Dirty() > most {
				t.Errorf("dirty %d, want at most %d", s.Dirty(), most)
			}
			tor.readAllHeld(t, s)
		}
		if !s.Has(0) || s.Has(1) {
			t.Errorf("held %b", s.Held())
		}
		disk.Inject(nil)
		tor.fetchAll(s)
		syncStore(t, s)
		if s.Dirty() != 0 {
			t.Errorf("dirty %d at last", s.Dirty())
		}
		closeStore(t, s)
		s = openStore(t, newCache(t, minMemory), tor, Options{FS: disk})
		if n := count(s.Held()); n != tor.NumPieces() {
			t.Errorf("%d pieces held", n)
		}
		closeStore(t, s)
	})
}

// The same on a real file system, with the ways that bypass ReadAt.
func TestMeddledOnDisk(t *testing.T) {
	tor := crashTorrent(t)
	dir := t.TempDir()
	s := openStore(t, newCache(t, minMemory), tor, Options{DataDir: dir})
	tor.fetchAll(s)
	closeStore(t, s)
	s = openStore(t, newCache(t, minMemory), tor, Options{DataDir: dir})
	const three = 4 // crashTorrent's index of it
	f := tor.Files[three]
	if _, ok := s.Backing(three); !ok {
		t.Fatal("not lent though complete")
	}
	s.ReleaseBacking(three)
	name := filepath.Join(dir, "top", "three")
	for what, change := range map[string]func() error{
		"overwrite": func() error {
			h, err := os.OpenFile(name, os.O_WRONLY, 0)
			must(t, err)
			defer h.Close()
			_, err = h.WriteAt([]byte("x"), 70_000)
			return err
		},
		"truncate": func() error { return os.Truncate(name, 100) },
		"remove":   func() error { return os.Remove(name) },
		"replace": func() error {
			must(t, os.WriteFile(name+"~", make([]byte, f.Length), 0o644))
			return os.Rename(name+"~", name)
		},
	} {
		s.ord = s.cache.last.Add(1) // forgets what is in memory
		tor.readSafely(t, s)        // opens it
		s.ord = s.cache.last.Add(1)
		time.Sleep(lendEvery + 20*time.Millisecond) // also a tick of the file system's clock
		must(t, change())
		if _, ok := s.Backing(three); ok {
			t.Errorf("%s: lent to the kernel", what)
		}
		if _, _, ok := s.Section(f.Offset+66_000, 1000); ok {
			t.Errorf("%s: lent to peers", what)
		}
		if tor.readSafely(t, s) == 0 {
			t.Errorf("%s: nothing was doubted", what)
		}
		syncStore(t, s)
		if got, err := os.ReadFile(name); err != nil || !slices.Equal(got, tor.data[f.Offset:f.Offset+f.Length]) {
			t.Errorf("%s: the file is not whole again: %v", what, err)
		}
	}
	closeStore(t, s)
}
