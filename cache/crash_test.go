package cache

import (
	"bytes"
	"math/rand/v2"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"torrentfs/cache/resume"
	"torrentfs/internal/bitset"
	"torrentfs/internal/crashfs"
	"torrentfs/metainfo"
)

func crashTorrent(t testing.TB) *torrent {
	return newTorrent(
		t, 2*metainfo.BlockSize,
		entry{path: "a/one", size: 100_000},
		entry{path: "tiny", size: 1},
		entry{path: "empty", size: 0},
		entry{path: "b/c/two", size: 50_000},
		entry{path: "three", size: 90_001},
	)
}

// progress is what a script did before the power went.
type progress struct {
	committed map[int]time.Time // last Commit
	synced    map[int]bool      // when a Sync said yes
	lost      map[int]bool      // Forget was begun
}

func newProgress() *progress {
	return &progress{committed: make(map[int]time.Time), synced: make(map[int]bool), lost: make(map[int]bool)}
}

func (pr *progress) commit(s *Store, p int) {
	s.Commit(p)
	pr.committed[p] = time.Now()
	delete(pr.lost, p)
}

func (pr *progress) sync(t *testing.T, s *Store) {
	if s.Sync(t.Context()) != nil {
		return
	}
	for p := range pr.committed {
		pr.synced[p] = true
	}
}

func (pr *progress) forget(s *Store, p int) {
	pr.lost[p] = true
	delete(pr.committed, p)
	delete(pr.synced, p)
	_ = s.Forget(p)
}

// script downloads the torrent in three sessions with all that may happen in
// between. It goes on when the disk is dead, as the program would.
func (tor *torrent) script(t *testing.T, c *Cache, disk *crashfs.FS) *progress {
	pr := newProgress()
	rng := rand.New(rand.NewPCG(7, 7))
	order := rng.Perm(tor.NumPieces())
	third := len(order) / 3
	for session := range 3 {
		s, err := c.Open(tor.Info, Options{FS: disk})
		if err != nil {
			return pr
		}
		todo := order[session*third:]
		if session < 2 {
			todo = todo[:third]
		}
		for i, p := range todo {
			if s.Has(p) {
				continue
			}
			tor.put(s, p)
			switch i % 4 {
			case 0:
				time.Sleep(150 * time.Millisecond) // written first
			case 1:
				bad := tor.block(p, 0)
				bad[5]++
				s.Put(metainfo.Block{Piece: p, Index: 0}, bad)
				time.Sleep(150 * time.Millisecond)
				s.Discard(p)
				tor.put(s, p)
			case 2:
				defer time.Sleep(time.Millisecond)
			}
			pr.commit(s, p)
			switch i % 5 {
			case 1:
				time.Sleep(1200 * time.Millisecond)
			case 3:
				pr.sync(t, s)
			}
		}
		if session == 1 {
			pr.sync(t, s)
			pr.forget(s, order[0])
			tor.put(s, order[0])
			pr.commit(s, order[0])
			time.Sleep(2 * time.Second)
			pr.forget(s, order[1])
		}
		if err := s.Close(); err != nil && disk.Died().IsZero() {
			t.Error(err)
		} else if err == nil {
			for p := range pr.committed {
				pr.synced[p] = true
			}
		}
		time.Sleep(time.Minute) // the next start
	}
	return pr
}

// examine opens what the crash left and asserts that it is true, that it is
// enough, and that it can be gone on with.
func (tor *torrent) examine(t *testing.T, c *Cache, disk *crashfs.FS, want map[int]bool, at int) {
	t.Helper()
	for round := range 2 {
		s, err := c.Open(tor.Info, Options{FS: disk})
		if err != nil {
			t.Fatalf("cut at %d: open: %v", at, err)
		}
		heldBits, doubtful := bitset.Set(s.Held()), bitset.Set(s.InDoubt())
		for p := range tor.NumPieces() {
			if doubtful.Has(p) {
				if heldBits.Has(p) {
					t.Errorf("cut at %d: piece %d is held and doubtful", at, p)
				}
				tor.hash(s, p)
			}
			if s.Has(p) {
				tor.check(t, s, p)
			} else if want[p] {
				t.Errorf("cut at %d: piece %d is lost", at, p)
			}
		}
		if round == 1 && (count(heldBits) != tor.NumPieces() || count(doubtful) != 0) {
			t.Errorf("cut at %d: after a clean stop %d of %d held, %d doubtful", at, count(heldBits), tor.NumPieces(), count(doubtful))
		}
		tor.fetchAll(s)
		for p := range tor.NumPieces() {
			tor.check(t, s, p)
		}
		if err := s.Close(); err != nil {
			t.Errorf("cut at %d: close: %v", at, err)
		}
		time.Sleep(time.Minute)
	}
}

func countOps(t *testing.T, c *Cache, tor *torrent) (ops int) {
	synctest.Test(t, func(t *testing.T) {
		disk := crashfs.New()
		tor.script(t, c, disk)
		ops = disk.Ops()
	})
	return ops
}

// Power is cut at every operation. Whatever part of the unsynced data
// survives: what is held reads back right, and what was synced is there, if only
// after hashing.
func TestPowerCutAtEveryOperation(t *testing.T) {
	tor := crashTorrent(t)
	c := newCache(t, minMemory) // one for all: making it costs more than a run
	total := countOps(t, c, tor)
	t.Logf("%d operations", total)
	for at := 1; at <= total; at++ {
		for mode := range 2 {
			synctest.Test(t, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(uint64(at), uint64(mode)))
				disk := crashfs.New()
				disk.CutAt(at, rng)
				pr := tor.script(t, c, disk)
				if mode == 0 {
					rng = nil // nothing that was not synced survives
				}
				tor.examine(t, c, disk.Crash(rng), pr.synced, at)
			})
		}
		if t.Failed() {
			return
		}
	}
}

// The process is killed at every operation. What was verified two seconds ago
// is there, if only after hashing.
func TestKillAtEveryOperation(t *testing.T) {
	tor := crashTorrent(t)
	c := newCache(t, minMemory) // one for all: making it costs more than a run
	total := countOps(t, c, tor)
	for at := 1; at <= total; at++ {
		synctest.Test(t, func(t *testing.T) {
			disk := crashfs.New()
			disk.CutAt(at, rand.New(rand.NewPCG(uint64(at), 9)))
			pr := tor.script(t, c, disk)
			want := pr.synced
			for p, when := range pr.committed {
				if when.Add(2 * time.Second).Before(disk.Died()) {
					want[p] = true
				}
			}
			tor.examine(t, c, disk.Kill(), want, at)
		})
		if t.Failed() {
			return
		}
	}
}

// Somebody changes files between two runs: only their pieces are hashed again.
func TestChangedFiles(t *testing.T) {
	tor := crashTorrent(t)
	for _, unclean := range []bool{false, true} {
		for name, change := range map[string]func(*testing.T, *crashfs.FS){
			"rewritten":  func(t *testing.T, d *crashfs.FS) { rewrite(t, d, "top/b/c/two", []byte("x")) },
			"truncated":  func(t *testing.T, d *crashfs.FS) { truncate(t, d, "top/b/c/two", 10) },
			"lengthened": func(t *testing.T, d *crashfs.FS) { truncate(t, d, "top/b/c/two", 60_000) },
			"removed":    func(t *testing.T, d *crashfs.FS) { must(t, d.Remove("top/b/c/two")) },
			"replaced": func(t *testing.T, d *crashfs.FS) {
				must(t, d.Remove("top/b/c/two"))
				rewrite(t, d, "top/b/c/two", tor.data[100_001:150_001])
			},
		} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { tor.changed(t, unclean, change) })
			})
		}
	}
}

func (tor *torrent) changed(t *testing.T, unclean bool, change func(*testing.T, *crashfs.FS)) {
	disk := crashfs.New()
	c := newCache(t, 0)
	s := openStore(t, c, tor, Options{FS: disk})
	tor.fetchAll(s)
	syncStore(t, s)
	next := disk
	if unclean {
		next = disk.Kill()
	}
	closeStore(t, s)
	time.Sleep(time.Minute)
	change(t, next)
	s = openStore(t, c, tor, Options{FS: next})
	first, last := 100_001/tor.PieceLength(), 150_000/tor.PieceLength()
	for p := range tor.NumPieces() {
		touched := int64(p) >= first && int64(p) <= last
		if s.Has(p) == touched {
			t.Errorf("piece %d: held is %v", p, s.Has(p))
		}
		if bitset.Set(s.InDoubt()).Has(p) {
			tor.hash(s, p)
		}
		if s.Has(p) {
			tor.check(t, s, p)
		}
	}
	tor.fetchAll(s)
	closeStore(t, s)
	s = openStore(t, c, tor, Options{FS: next})
	if count(s.Held()) != tor.NumPieces() {
		t.Errorf("%d of %d pieces held at last", count(s.Held()), tor.NumPieces())
	}
	closeStore(t, s)
}

// Another client's files are hashed, holes are not.
func TestForeignFiles(t *testing.T) {
	tor := crashTorrent(t)
	disk := crashfs.New()
	must(t, disk.Mkdir("top", 0o755))
	must(t, disk.Mkdir("top/a", 0o755))
	rewrite(t, disk, "top/a/one", tor.data[:40_000])
	truncate(t, disk, "top/a/one", 100_000) // a hole from 40,000 on
	rewrite(t, disk, "top/three", bytes.Repeat([]byte{1}, 90_001))
	s := openStore(t, newCache(t, 0), tor, Options{FS: disk})
	// Of 8 pieces of 32 KiB the first two have data in one; the next, and those
	// with a part of the missing two, have not, up to the end of three.
	if got := s.InDoubt()[0]; count(s.Held()) != 0 || got != 0b1110_0011 {
		t.Errorf("held %b, doubtful %b", s.Held(), got)
	}
	right := 0
	for p := range tor.NumPieces() {
		if bitset.Set(s.InDoubt()).Has(p) && tor.hash(s, p) {
			right++
			tor.check(t, s, p)
		}
	}
	if right != 1 {
		t.Errorf("%d pieces were right, want the first only", right)
	}
	closeStore(t, s)
	s = openStore(t, newCache(t, 0), tor, Options{FS: disk})
	if count(s.Held()) != 1 || count(s.InDoubt()) != 0 {
		t.Errorf("after a clean stop: held %b, doubtful %b", s.Held(), s.InDoubt())
	}
	closeStore(t, s)
}

// Hashing that a stop interrupts goes on at the next start.
func TestDoubtfulOutlivesStop(t *testing.T) {
	tor := crashTorrent(t)
	disk := crashfs.New()
	s := openStore(t, newCache(t, 0), tor, Options{FS: disk})
	tor.fetchAll(s)
	closeStore(t, s)
	must(t, disk.Remove(resume.StateDir+"/"+tor.Hash.String()+".resume"))
	s = openStore(t, newCache(t, 0), tor, Options{FS: disk})
	if count(s.InDoubt()) != tor.NumPieces() {
		t.Fatalf("%d doubtful", count(s.InDoubt()))
	}
	tor.hash(s, 3)
	s.Discard(4)
	closeStore(t, s)
	s = openStore(t, newCache(t, 0), tor, Options{FS: disk})
	if count(s.InDoubt()) != tor.NumPieces()-2 || !s.Has(3) {
		t.Errorf("%d doubtful, held %b", count(s.InDoubt()), s.Held())
	}
	closeStore(t, s)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func rewrite(t testing.TB, d *crashfs.FS, name string, content []byte) {
	t.Helper()
	f, err := d.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	must(t, err)
	_, err = f.WriteAt(content, 0)
	must(t, err)
	must(t, f.Close())
}

func truncate(t testing.TB, d *crashfs.FS, name string, size int64) {
	t.Helper()
	f, err := d.OpenFile(name, os.O_RDWR, 0)
	must(t, err)
	must(t, f.Truncate(size))
	must(t, f.Close())
}
