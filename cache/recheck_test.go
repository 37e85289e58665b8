package cache

import (
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"torrentfs/cache/resume"
	"torrentfs/internal/bitset"
	"torrentfs/internal/crashfs"
	"torrentfs/metainfo"
)

// losses are what a failed sync may do to the data.
var losses = map[string]crashfs.Loss{"calls it clean": crashfs.CallsClean, "reverts": crashfs.Reverts, "keeps it": crashfs.KeepsDirty}

// recheck does what the engine does with the pieces that the store puts in
// doubt, until all are durable, and returns those that had to be fetched again.
func (tor *torrent) recheck(t *testing.T, s *Store) (lost []int) {
	t.Helper()
	for range 100 {
		for _, p := range untrusted(s) {
			if s.Has(p) || !bitset.Set(s.InDoubt()).Has(p) {
				t.Errorf("piece %d: held %v, doubtful %v", p, s.Has(p), bitset.Set(s.InDoubt()).Has(p))
			}
			if !tor.hash(s, p) {
				lost = append(lost, p)
				tor.fetch(s, p)
			}
		}
		if s.Durable(0, tor.NumPieces()-1) {
			return lost
		}
		time.Sleep(time.Second)
	}
	t.Error("not everything becomes durable")
	return lost
}

// outlives asserts that a power cut now would take nothing.
func (tor *torrent) outlives(t *testing.T, c *Cache, disk *crashfs.FS) {
	t.Helper()
	s := openStore(t, c, tor, Options{FS: disk.Crash(nil)})
	for p := range tor.NumPieces() {
		if !s.Has(p) {
			t.Errorf("piece %d is not held after a crash", p)
			continue
		}
		tor.check(t, s, p)
	}
	closeStore(t, s)
}

// A sync that fails and then works again made nothing durable: what the disk
// had taken is written again, from memory or as it reads, and hashed; what is
// lost is fetched again; and only then is it durable.
func TestFailedSyncIsMadeGood(t *testing.T) {
	tor := crashTorrent(t)
	for name, loss := range losses {
		for _, remembers := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					disk, said := crashfs.New(), &reports{}
					disk.OnFailedSync(loss)
					c := newCache(t, 8<<20)
					s := openStore(t, c, tor, Options{FS: disk, OnError: said.add})
					tor.fetch(s, 4) // of two and three
					syncStore(t, s)
					disk.Inject(failing("sync", "top/", syscall.EIO))
					tor.fetchAll(s)
					time.Sleep(time.Minute)
					if s.Durable(0, tor.NumPieces()-1) || !s.Durable(4, 4) || len(untrusted(s)) != 0 {
						t.Error("durable although nothing could be synced, or not what was before")
					}
					if !remembers {
						s.ord = c.last.Add(1) // forgets what is in memory
					}
					select {
					case <-s.Changed(): // of what was written
					default:
					}
					disk.Inject(nil)
					time.Sleep(2 * syncRetry)
					select {
					case <-s.Changed():
					default:
						t.Error("nobody was told")
					}
					lost := tor.recheck(t, s)
					if some := len(lost) > 0; some != (loss == crashfs.Reverts && !remembers) {
						t.Errorf("%d pieces are lost, in memory: %v", len(lost), remembers)
					}
					if n := len(said.take()); n != 1 || s.Err() != nil {
						t.Errorf("reported %d times, err %v", n, s.Err())
					}
					for p := range tor.NumPieces() {
						tor.check(t, s, p)
					}
					tor.outlives(t, c, disk)
					closeStore(t, s)
					tor.outlives(t, c, disk)
				})
			})
		}
	}
}

// A file that somebody else changes while it cannot be synced is taken for what
// it is then.
func TestFailedSyncOfChangedFile(t *testing.T) {
	tor := crashTorrent(t)
	for _, remembers := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			disk := crashfs.New()
			disk.OnFailedSync(crashfs.Reverts)
			c := newCache(t, 8<<20)
			s := openStore(t, c, tor, Options{FS: disk})
			disk.Inject(failing("sync", "top/", syscall.EIO))
			tor.fetchAll(s)
			time.Sleep(time.Minute)
			rewrite(t, disk, "top/three", make([]byte, 70_000))
			if !remembers {
				s.ord = c.last.Add(1)
			}
			disk.Inject(nil)
			time.Sleep(2 * syncRetry)
			if lost := tor.recheck(t, s); len(lost) > tor.NumPieces() {
				t.Errorf("%d pieces were fetched again", len(lost))
			}
			tor.outlives(t, c, disk)
			closeStore(t, s)
		})
	}
}

// A file that cannot be read when it can be synced again is not read on and on.
func TestFailedSyncOfUnreadableFile(t *testing.T) {
	tor := crashTorrent(t)
	synctest.Test(t, func(t *testing.T) {
		disk := crashfs.New()
		disk.OnFailedSync(crashfs.CallsClean)
		c := newCache(t, 8<<20)
		s := openStore(t, c, tor, Options{FS: disk})
		disk.Inject(failing("sync", "top/", syscall.EIO))
		tor.fetchAll(s)
		time.Sleep(time.Minute)
		s.ord = c.last.Add(1)
		disk.Inject(failing("read", "top/three", syscall.EIO))
		time.Sleep(2 * syncRetry)
		if lost := tor.recheck(t, s); len(lost) == 0 || len(lost) > tor.NumPieces() {
			t.Errorf("%d pieces were fetched again", len(lost))
		}
		disk.Inject(nil)
		tor.outlives(t, c, disk)
		closeStore(t, s)
	})
}

// What came in part before the sync failed is no better than the rest.
func TestFailedSyncOfHalfAPiece(t *testing.T) {
	tor := crashTorrent(t)
	for name, loss := range losses {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk := crashfs.New()
				disk.OnFailedSync(loss)
				c := newCache(t, 8<<20)
				s := openStore(t, c, tor, Options{FS: disk})
				for p := range tor.NumPieces() {
					s.Put(metainfo.Block{Piece: p, Index: 0}, tor.block(p, 0))
				}
				disk.Inject(failing("sync", "top/", syscall.EIO))
				if s.Sync(t.Context()) == nil {
					t.Error("the sync did not fail")
				}
				disk.Inject(nil)
				syncStore(t, s) // it works again before the pieces are whole
				for p := range tor.NumPieces() {
					for b := 1; b < tor.NumBlocks(p); b++ {
						s.Put(metainfo.Block{Piece: p, Index: b}, tor.block(p, b))
					}
					s.Commit(p)
				}
				tor.recheck(t, s)
				tor.outlives(t, c, disk)
				closeStore(t, s)
			})
		})
	}
}

// Without anybody who hashes, a clean stop vouches for nothing that a failed
// sync may have cost, and has it on disk as it reads.
func TestCloseAfterFailedSync(t *testing.T) {
	tor := crashTorrent(t)
	for name, loss := range losses {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk := crashfs.New()
				disk.OnFailedSync(loss)
				c := newCache(t, 8<<20)
				s := openStore(t, c, tor, Options{FS: disk})
				disk.Inject(failing("sync", "top/", syscall.EIO))
				tor.fetchAll(s)
				if s.Sync(t.Context()) == nil {
					t.Error("the sync did not fail")
				}
				disk.Inject(nil)
				closeStore(t, s)
				s = openStore(t, c, tor, Options{FS: disk.Crash(nil)})
				for p := range tor.NumPieces() {
					if s.Has(p) || !tor.hash(s, p) {
						t.Errorf("piece %d: held %v, or not on disk", p, s.Has(p))
					}
				}
				closeStore(t, s)
			})
		})
	}
}

// Whatever syncs fail, and whenever: what is called durable outlives a power
// cut. It is held then; where the journal's own syncs failed, after hashing at worst.
func TestDurableIsDurable(t *testing.T) {
	tor := crashTorrent(t)
	c := newCache(t, minMemory)
	healed := 0
	for seed := range uint64(300) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 11))
			disk := crashfs.New()
			disk.OnFailedSync([]crashfs.Loss{crashfs.CallsClean, crashfs.Reverts}[seed%2])
			s := openStore(t, c, tor, Options{FS: disk})
			journalToo := seed%4 >= 2
			chance, luck := rng.IntN(4), rand.New(rand.NewPCG(seed, 12))
			disk.Inject(func(op crashfs.Op) error {
				sync := op.Kind == "sync" || op.Kind == "syncall"
				if !sync || !journalToo && strings.HasPrefix(op.Name, resume.StateDir) || luck.IntN(4) >= chance {
					return nil
				}
				return syscall.EIO
			})
			for range 60 {
				p := rng.IntN(tor.NumPieces())
				switch rng.IntN(6) {
				case 0, 1:
					for b := range tor.NumBlocks(p) {
						if rng.IntN(2) == 0 {
							s.Put(metainfo.Block{Piece: p, Index: b}, tor.block(p, b))
						}
					}
				case 2:
					if !s.Has(p) {
						tor.fetch(s, p)
					}
				case 3:
					if !s.Has(p) {
						tor.hash(s, p)
					}
				case 4:
					time.Sleep(time.Duration(rng.IntN(3000)) * time.Millisecond)
				case 5:
					for _, p := range untrusted(s) {
						healed++
						tor.hash(s, p)
					}
				}
			}
			synctest.Wait()
			durable := bitset.New(tor.NumPieces()) // as it is before the power goes
			for p := range tor.NumPieces() {
				if s.Durable(p, p) {
					durable.Set(p)
				}
			}
			next := openStore(t, c, tor, Options{FS: disk.Crash(nil)})
			for p := range tor.NumPieces() {
				if durable.Has(p) && !next.Has(p) && (!journalToo || !tor.hash(next, p)) {
					t.Errorf("seed %d: piece %d was called durable and is not held", seed, p)
				}
				if next.Has(p) {
					tor.check(t, next, p)
				}
			}
			closeStore(t, next)
			_ = s.Close()
		})
		if t.Failed() {
			return
		}
	}
	if healed == 0 {
		t.Error("no sync failed that mattered")
	}
}
