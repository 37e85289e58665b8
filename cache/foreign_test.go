package cache

import (
	"bytes"
	"io/fs"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"torrentfs/cache/resume"
	"torrentfs/cache/vfs"
	"torrentfs/internal/bitset"
	"torrentfs/internal/crashfs"
	"torrentfs/metainfo"
)

// foreignPiece is the length of the pieces of foreignTorrents: four blocks.
const foreignPiece = 4 * metainfo.BlockSize

// foreignTorrents have two files of eight pieces each.
func foreignTorrents(t testing.TB) map[string]*torrent {
	return map[string]*torrent{
		"v1": newTorrent(t, foreignPiece, entry{path: "f0", size: 8 * foreignPiece}, entry{path: "f1", size: 8 * foreignPiece}),
		"v2": newTorrentV2(t, foreignPiece, 8*foreignPiece, 8*foreignPiece),
	}
}

// foreignChanges are what other programs do to top/f0 (and f1).
var foreignChanges = map[string]func(*testing.T, *crashfs.FS){
	"removed": func(t *testing.T, d *crashfs.FS) { must(t, d.Remove("top/f0")) },
	"replaced": func(t *testing.T, d *crashfs.FS) {
		rewrite(t, d, "top/x", make([]byte, 8*foreignPiece))
		must(t, d.Rename("top/x", "top/f0"))
	},
	"replaced, date put back": func(t *testing.T, d *crashfs.FS) {
		st, err := d.Lstat("top/f0")
		must(t, err)
		rewrite(t, d, "top/x", make([]byte, st.Size))
		must(t, d.SetMTime("top/x", st.MTime))
		must(t, d.Rename("top/x", "top/f0"))
	},
	"overwritten": func(t *testing.T, d *crashfs.FS) { rewrite(t, d, "top/f0", make([]byte, 8*foreignPiece)) },
	"overwritten, date put back": func(t *testing.T, d *crashfs.FS) {
		st, err := d.Lstat("top/f0")
		must(t, err)
		rewrite(t, d, "top/f0", make([]byte, st.Size))
		must(t, d.SetMTime("top/f0", st.MTime))
	},
	"cut":     func(t *testing.T, d *crashfs.FS) { truncate(t, d, "top/f0", 100) },
	"emptied": func(t *testing.T, d *crashfs.FS) { truncate(t, d, "top/f0", 0) },
	"cut and grown": func(t *testing.T, d *crashfs.FS) {
		truncate(t, d, "top/f0", 0)
		truncate(t, d, "top/f0", 8*foreignPiece)
	},
	"grown": func(t *testing.T, d *crashfs.FS) { truncate(t, d, "top/f0", 9*foreignPiece) },
	"swapped with one of its size and date": func(t *testing.T, d *crashfs.FS) {
		for _, name := range []string{"top/f0", "top/f1"} {
			must(t, d.SetMTime(name, 1))
		}
		must(t, d.Rename("top/f0", "top/x"))
		must(t, d.Rename("top/f1", "top/f0"))
		must(t, d.Rename("top/x", "top/f1"))
	},
}

// conclude does what the engine does when a piece's hash, taken of the blocks
// as they came, was right.
func (tor *torrent) conclude(s *Store, p int) {
	if !s.Commit(p) && !tor.hash(s, p) {
		tor.fetch(s, p)
	}
}

// Whatever another program does, whenever it does it, and however the session
// ends: no wrong byte is read, before or after, though nobody read anything
// that would have shown the change.
func TestForeignChanges(t *testing.T) {
	for kind, tor := range foreignTorrents(t) {
		for name, change := range foreignChanges {
			for _, when := range []string{"before a piece", "amid a piece", "after it", "amid it, and read"} {
				for _, kill := range []bool{false, true} {
					t.Run(kind+"/"+name+"/"+when+map[bool]string{true: "/kill", false: "/stop"}[kill], func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) { tor.foreign(t, change, when, kill) })
					})
				}
			}
		}
	}
}

func (tor *torrent) foreign(t *testing.T, change func(*testing.T, *crashfs.FS), when string, kill bool) {
	disk := crashfs.New()
	s := openStore(t, newCache(t, minMemory), tor, Options{FS: disk})
	for _, p := range []int{0, 7, 8, 15} {
		tor.fetch(s, p)
	}
	syncStore(t, s)
	meddle := func() {
		time.Sleep(5 * time.Second) // what was put is written
		change(t, disk)
		time.Sleep(time.Second)
	}
	if when == "before a piece" {
		meddle()
	}
	for b := range 4 {
		if b == 2 && when[:4] == "amid" {
			meddle()
			if when != "amid a piece" {
				s.ord = s.cache.last.Add(1) // what is in memory is forgotten
				if _, err := s.ReadAt(make([]byte, 10), 0); err != nil && s.Has(0) {
					tor.recover(t, s, 0, err)
				}
			}
		}
		s.Put(metainfo.Block{Piece: 1, Index: b}, tor.block(1, b))
		if b == 1 && tor.Hash.HasV2 {
			s.CommitBlock(metainfo.Block{Piece: 1, Index: b})
		}
	}
	tor.conclude(s, 1)
	if when == "after it" {
		meddle()
	}
	if kill {
		after := disk.Kill()
		closeStore(t, s)
		disk = after
	} else {
		s.ord = s.cache.last.Add(1)
		tor.judge(t, s, untrusted(s))
		for p := range tor.NumPieces() {
			if _, err := s.ReadAt(make([]byte, foreignPiece), int64(p)*foreignPiece); err != nil && s.Has(p) {
				tor.recover(t, s, p, err)
			}
			if s.Has(p) {
				tor.check(t, s, p)
			}
		}
		closeStore(t, s)
	}
	for range 2 {
		s = openStore(t, newCache(t, minMemory), tor, Options{FS: disk})
		for p := range tor.NumPieces() {
			if bitset.Set(s.InDoubt()).Has(p) {
				tor.hash(s, p)
			}
		}
		tor.readAllHeld(t, s)
		closeStore(t, s)
	}
}

// A file that nobody touched costs no hashing: not after a clean stop, and not
// after a kill or a power cut if it was not being written to.
func TestUntouchedFilesAreNotHashed(t *testing.T) {
	for kind, tor := range foreignTorrents(t) {
		for _, end := range []string{"stop", "kill", "power cut"} {
			t.Run(kind+"/"+end, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					disk := crashfs.New()
					s := openStore(t, newCache(t, minMemory), tor, Options{FS: disk})
					for p := range tor.NumPieces() - 1 {
						tor.fetch(s, p)
					}
					time.Sleep(3 * time.Second) // it is journaled
					last := tor.NumPieces() - 1
					s.Put(metainfo.Block{Piece: last, Index: 0}, tor.block(last, 0)) // f1 is being written to
					time.Sleep(200 * time.Millisecond)
					after := map[string]func() *crashfs.FS{
						"stop": func() *crashfs.FS { return disk }, "kill": disk.Kill,
						"power cut": func() *crashfs.FS { return disk.Crash(nil) },
					}[end]()
					closeStore(t, s)
					s = openStore(t, newCache(t, minMemory), tor, Options{FS: after})
					for p := range 8 {
						if !s.Has(p) {
							t.Errorf("piece %d of the file that is complete is not held", p)
						}
					}
					if n := count(s.InDoubt()); end == "stop" && n > 0 {
						t.Errorf("%d pieces are hashed after a clean stop", n)
					}
					for p := 8; p < last; p++ {
						if !s.Has(p) && !tor.hash(s, p) {
							t.Errorf("piece %d is lost", p)
						}
					}
					closeStore(t, s)
				})
			})
		}
	}
}

// A verdict on bytes that were read before a change was noticed is void.
func TestStaleVerdictOfACheck(t *testing.T) {
	tor := foreignTorrents(t)["v1"]
	synctest.Test(t, func(t *testing.T) {
		disk := crashfs.New()
		s := openStore(t, newCache(t, minMemory), tor, Options{FS: disk})
		tor.fetchAll(s)
		closeStore(t, s)
		must(t, disk.Remove(resume.StateDir+"/"+tor.Hash.String()+".resume"))
		s = openStore(t, newCache(t, minMemory), tor, Options{FS: disk})
		tor.hash(s, 0)
		for b := range 4 { // a check of piece 1, whose verdict is yet to come
			if data, err := s.Unverified(metainfo.Block{Piece: 1, Index: b}, nil); err != nil || !bytes.Equal(data, tor.block(1, b)) {
				t.Fatalf("block %d: %v", b, err)
			}
		}
		rewrite(t, disk, "top/f0", make([]byte, 8*foreignPiece))
		s.ord = s.cache.last.Add(1)
		_, err := s.ReadAt(make([]byte, 10), 0)
		tor.recover(t, s, 0, err)
		if s.Commit(1) {
			t.Error("committed by a hash of what is not there any more")
		}
		if tor.hash(s, 1) {
			t.Error("zeros are held to be right")
		}
		tor.fetch(s, 1)
		tor.readAllHeld(t, s)
		closeStore(t, s)
	})
}

// A verdict that comes after the blocks were discarded is void, too.
func TestStaleVerdictAfterDiscard(t *testing.T) {
	for kind, tor := range foreignTorrents(t) {
		s := openStore(t, newCache(t, minMemory), tor, Options{FS: crashfs.New()})
		tor.put(s, 1)
		s.Discard(1)
		if s.Commit(1) || s.Has(1) {
			t.Errorf("%s: a discarded piece is committed", kind)
		}
		closeStore(t, s)
	}
}

// meddlingFS has another program write to a file right after each write of
// ours, before we look at what became of it.
type meddlingFS struct {
	*crashfs.FS
	meddle func()
}

func (m *meddlingFS) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	f, err := m.FS.OpenFile(name, flag, perm)
	if err != nil || flag&os.O_RDWR == 0 || name != "top/f0" {
		return f, err
	}
	return &meddledFile{f, m}, nil
}

type meddledFile struct {
	vfs.File
	m *meddlingFS
}

func (f *meddledFile) WriteVectorAt(bufs [][]byte, off int64) (int, error) {
	n, err := f.File.WriteVectorAt(bufs, off)
	if do := f.m.meddle; do != nil {
		f.m.meddle = nil
		f.m.Others(do)
	}
	return n, err
}

// What another program writes while we write to the same file is not taken for
// ours, where the system tells who writes.
func TestChangeWithinOurWrite(t *testing.T) {
	for kind, tor := range foreignTorrents(t) {
		synctest.Test(t, func(t *testing.T) {
			disk := &meddlingFS{FS: crashfs.New()}
			disk.TellsOfOthers()
			s := openStore(t, newCache(t, minMemory), tor, Options{FS: disk})
			tor.fetch(s, 0)
			syncStore(t, s)
			disk.meddle = func() { rewrite(t, disk.FS, "top/f0", []byte("not what it was")) }
			tor.fetch(s, 1)
			syncStore(t, s)
			if disk.meddle != nil {
				t.Fatal("nothing was written")
			}
			if got := untrusted(s); !slices.Contains(got, 0) || s.Has(0) {
				t.Errorf("%s: %v are to be checked, piece 0 held: %v", kind, got, s.Has(0))
			}
			if tor.hash(s, 0) {
				t.Errorf("%s: piece 0 is held to be right", kind)
			}
			s.ord = s.cache.last.Add(1)
			tor.readAllHeld(t, s)
			after := disk.Kill()
			closeStore(t, s)
			s = openStore(t, newCache(t, minMemory), tor, Options{FS: after})
			tor.readAllHeld(t, s)
			closeStore(t, s)
		})
	}
}

// A look at a file that was taken while we wrote to it, and is judged when we are done, is no change by another program: it would
// put all of the file in doubt.
func TestLookDuringOurWrite(t *testing.T) {
	for kind, tor := range foreignTorrents(t) {
		synctest.Test(t, func(t *testing.T) {
			disk := &meddlingFS{FS: crashfs.New()}
			s := openStore(t, newCache(t, minMemory), tor, Options{FS: disk})
			tor.fetch(s, 0)
			syncStore(t, s)
			var amid resume.FileState
			var gen uint64
			disk.meddle = func() {
				s.mu.Lock()
				gen = s.watchOf(0).gen
				s.mu.Unlock()
				amid = s.stat(0)
				time.Sleep(time.Second) // the write goes on, and sets the date again
				now, err := disk.Lstat("top/f0")
				must(t, err)
				must(t, disk.SetMTime("top/f0", now.MTime+1))
			}
			tor.fetch(s, 1)
			syncStore(t, s)
			s.mu.Lock()
			foreign := s.watchOf(0).suspicious(amid, false, gen)
			s.mu.Unlock()
			if disk.meddle != nil || foreign {
				t.Errorf("%s: written %v, taken for changed %v", kind, disk.meddle == nil, foreign)
			}
			closeStore(t, s)
		})
	}
}

// Nothing of an empty file is verified: looking at it puts nothing in doubt, whatever became of it.
func TestEmptyFilesAreNeverInDoubt(t *testing.T) {
	tor := newTorrent(t, foreignPiece, entry{path: "f0", size: 2*foreignPiece + 1}, entry{path: "empty", size: 0}, entry{path: "f1", size: foreignPiece})
	disk := crashfs.New()
	s := openStore(t, newCache(t, minMemory), tor, Options{FS: disk})
	tor.fetchAll(s)
	closeStore(t, s)
	s = openStore(t, newCache(t, minMemory), tor, Options{FS: disk})
	defer closeStore(t, s)
	empty := slices.IndexFunc(s.lay.files, func(f metainfo.File) bool { return f.Path == "top/empty" })
	for _, meddle := range []func(){func() {}, func() { must(t, disk.SetMTime("top/empty", 1)) }, func() { must(t, disk.Remove("top/empty")) }} {
		meddle()
		s.Backing(empty)
		s.invalidateFile(empty)
		s.vouch(empty)
		if got := untrusted(s); len(got) > 0 || count(s.InDoubt()) > 0 {
			t.Fatalf("pieces %v are in doubt", got)
		}
	}
}
