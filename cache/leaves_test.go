package cache

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"torrentfs/internal/bitset"
	"torrentfs/internal/crashfs"
	"torrentfs/metainfo"
)

// leafTorrent has pieces of four blocks, and short ones in the middle.
func leafTorrent(t testing.TB) *torrent {
	return newTorrentV2(t, 4*metainfo.BlockSize, 1, 0, 5*metainfo.BlockSize+77, 3*metainfo.BlockSize, 200_000)
}

// A block that is verified by itself reads at once, from memory as from disk;
// the others of its piece do not, and a discarded piece keeps it.
func TestBlockReadsBeforeItsPiece(t *testing.T) {
	tor := leafTorrent(t)
	for _, written := range []bool{false, true} {
		s := openStore(t, newCache(t, minMemory), tor, Options{DataDir: t.TempDir()})
		const piece, block = 4, 2
		off := int64(piece)*tor.PieceLength() + block*metainfo.BlockSize
		s.Put(metainfo.Block{Piece: piece, Index: 1}, tor.block(piece, 1))
		s.Put(metainfo.Block{Piece: piece, Index: block}, tor.block(piece, block))
		if written {
			syncStore(t, s)
		}
		if s.HasBlock(metainfo.Block{Piece: piece, Index: block}) || s.Ready(off, 1) {
			t.Fatal("a block that was only put counts as verified")
		}
		s.CommitBlock(metainfo.Block{Piece: piece, Index: 3}) // was never put
		s.CommitBlock(metainfo.Block{Piece: piece, Index: block})
		s.DiscardBlock(metainfo.Block{Piece: piece, Index: block})
		s.Discard(piece)
		if !s.HasBlock(metainfo.Block{Piece: piece, Index: block}) || s.HasBlock(metainfo.Block{Piece: piece, Index: 1}) || s.HasBlock(metainfo.Block{Piece: piece, Index: 3}) || s.HasBlock(metainfo.Block{Piece: piece, Index: 99}) || s.Has(piece) {
			t.Error("other blocks are verified than the one committed")
		}
		got := make([]byte, 2*metainfo.BlockSize)
		n, err := s.ReadAt(got, off+5)
		if n != metainfo.BlockSize-5 || !errors.Is(err, ErrMissing) || !bytes.Equal(got[:n], tor.data[off+5:][:n]) {
			t.Errorf("written %v: read %d bytes: %v", written, n, err)
		}
		if bufs, ok := s.Memory(off+1, 100); !ok || !bytes.Equal(bufs[0], tor.data[off+1:][:100]) {
			t.Error("the block is not in memory")
		}
		if _, _, ok := s.Section(off, 100); ok {
			t.Error("bytes of an incomplete piece are lent")
		}
		bad := tor.block(piece, block)
		bad[0]++
		s.Put(metainfo.Block{Piece: piece, Index: block}, bad) // changes nothing
		syncStore(t, s)
		tor.put(s, piece)
		s.Commit(piece)
		tor.check(t, s, piece)
		closeStore(t, s)
	}
}

// Whatever happens to blocks and pieces, through restarts: what is readable is
// exactly what was committed, and it is right.
func TestBlocksAgainstModel(t *testing.T) {
	tor := leafTorrent(t)
	c := newCache(t, minMemory)
	rapid.Check(t, func(rt *rapid.T) {
		disk := crashfs.New()
		var s *Store
		open := func() {
			var err error
			if s, err = c.Open(tor.Info, Options{FS: disk, UnverifiedMemory: 2 * metainfo.BlockSize}); err != nil {
				rt.Fatal(err)
			}
		}
		open()
		defer func() { _ = s.Close() }()
		type id struct{ piece, block int }
		put, good := map[id]bool{}, map[id]bool{} // right bytes put; committed
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			x := id{piece: rapid.IntRange(0, tor.NumPieces()-1).Draw(rt, "piece")}
			blocks := tor.NumBlocks(x.piece)
			x.block = rapid.IntRange(0, blocks-1).Draw(rt, "block")
			switch rapid.IntRange(0, 9).Draw(rt, "op") {
			case 0, 1, 2:
				s.Put(metainfo.Block{Piece: x.piece, Index: x.block}, tor.block(x.piece, x.block))
				put[x] = true
			case 3:
				bad := tor.block(x.piece, x.block)
				bad[0]++
				s.Put(metainfo.Block{Piece: x.piece, Index: x.block}, bad)
				if !good[x] {
					delete(put, x)
				}
			case 4, 5:
				if put[x] {
					s.CommitBlock(metainfo.Block{Piece: x.piece, Index: x.block})
					good[x] = true
				}
			case 6:
				s.Discard(x.piece)
				for b := range blocks {
					if y := (id{x.piece, b}); !good[y] {
						delete(put, y)
					}
				}
			case 7:
				all := true
				for b := range blocks {
					all = all && put[id{x.piece, b}]
				}
				if all {
					s.Commit(x.piece)
					for b := range blocks {
						good[id{x.piece, b}] = true
					}
				}
			case 8:
				if err := s.Sync(t.Context()); err != nil {
					rt.Fatal(err)
				}
			case 9:
				if err := s.Close(); err != nil {
					rt.Fatal(err)
				}
				open()
				for y := range put {
					if !good[y] {
						delete(put, y)
					}
				}
			}
			for p := range tor.NumPieces() {
				for b := range tor.NumBlocks(p) {
					off := int64(p)*tor.PieceLength() + int64(b)*metainfo.BlockSize
					n := tor.BlockLen(p, b)
					got := make([]byte, n)
					m, err := s.ReadAt(got, off)
					if want := good[id{p, b}]; want != s.HasBlock(metainfo.Block{Piece: p, Index: b}) || want != s.Ready(off, n) || want != (m == n) {
						rt.Fatalf("block %d of piece %d: committed %v, has %v, ready %v, read %d of %d: %v",
							b, p, want, s.HasBlock(metainfo.Block{Piece: p, Index: b}), s.Ready(off, n), m, n, err)
					}
					if m == n && !bytes.Equal(got, tor.data[off:off+int64(n)]) {
						rt.Fatalf("block %d of piece %d: wrong bytes", b, p)
					}
				}
			}
			for piece, blocks := range s.Blocks {
				for b := range tor.NumBlocks(piece) {
					if bitset.Set(blocks).Has(b) != good[id{piece, b}] || s.Has(piece) {
						rt.Fatalf("Blocks tells %x of piece %d", blocks, piece)
					}
				}
			}
		}
	})
}

// leafScript commits blocks, some of them to whole pieces, and notes those that
// a Sync vouched for.
func (tor *torrent) leafScript(t *testing.T, c *Cache, disk *crashfs.FS) (synced map[[2]int]bool) {
	synced = map[[2]int]bool{}
	s, err := c.Open(tor.Info, Options{FS: disk})
	if err != nil {
		return synced
	}
	rng := rand.New(rand.NewPCG(3, 3))
	var committed [][2]int
	for i := range 14 {
		p := rng.IntN(tor.NumPieces())
		b := rng.IntN(tor.NumBlocks(p))
		s.Put(metainfo.Block{Piece: p, Index: b}, tor.block(p, b))
		if i%3 == 0 {
			time.Sleep(150 * time.Millisecond)
		}
		s.CommitBlock(metainfo.Block{Piece: p, Index: b})
		committed = append(committed, [2]int{p, b})
		if i == 9 {
			tor.put(s, p)
			s.Commit(p)
		}
		if i%4 == 3 && s.Sync(t.Context()) == nil {
			for _, x := range committed {
				synced[x] = true
			}
		}
	}
	if s.Close() == nil {
		for _, x := range committed {
			synced[x] = true
		}
	}
	return synced
}

// Power is cut at every operation: what is readable afterwards is right, and
// what was synced is readable, block by block.
func TestPowerCutKeepsBlocks(t *testing.T) {
	tor := leafTorrent(t)
	c := newCache(t, minMemory)
	total := 0
	synctest.Test(t, func(t *testing.T) {
		disk := crashfs.New()
		tor.leafScript(t, c, disk)
		total = disk.Ops()
	})
	for at := 1; at <= total; at++ {
		for mode := range 2 {
			synctest.Test(t, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(uint64(at), uint64(mode)))
				disk := crashfs.New()
				disk.CutAt(at, rng)
				synced := tor.leafScript(t, c, disk)
				if mode == 0 {
					rng = nil
				}
				s, err := c.Open(tor.Info, Options{FS: disk.Crash(rng)})
				if err != nil {
					t.Fatal(err)
				}
				for p := range tor.NumPieces() {
					for b := range tor.NumBlocks(p) {
						got := make([]byte, tor.BlockLen(p, b))
						off := int64(p)*tor.PieceLength() + int64(b)*metainfo.BlockSize
						switch n, err := s.ReadAt(got, off); {
						case n == len(got) && (err == nil || err == io.EOF):
							if !bytes.Equal(got, tor.data[off:off+int64(n)]) {
								t.Errorf("cut at %d: block %d of piece %d is wrong", at, b, p)
							}
						case synced[[2]int{p, b}] && !bitset.Set(s.InDoubt()).Has(p):
							t.Errorf("cut at %d: block %d of piece %d was synced and is gone: %v", at, b, p, err)
						}
					}
				}
				tor.fetchAll(s)
				for p := range tor.NumPieces() {
					tor.check(t, s, p)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// A file that somebody else changed takes its blocks with it.
func TestForeignChangeTakesBlocks(t *testing.T) {
	tor := leafTorrent(t)
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, minMemory)
		disk := crashfs.New()
		s := openStore(t, c, tor, Options{FS: disk})
		const piece = 1
		s.Put(metainfo.Block{Piece: piece, Index: 0}, tor.block(piece, 0))
		s.CommitBlock(metainfo.Block{Piece: piece, Index: 0})
		syncStore(t, s)
		rewrite(t, disk, "top/f2", []byte("x"))
		if got := invalidate(s, piece, ErrChanged); len(got) != 1 || got[0] != piece {
			t.Errorf("doubtful: %v", got)
		}
		if s.HasBlock(metainfo.Block{Piece: piece, Index: 0}) {
			t.Error("the block is still trusted")
		}
		closeStore(t, s)
		if s = openStore(t, c, tor, Options{FS: disk}); s.HasBlock(metainfo.Block{Piece: piece, Index: 0}) {
			t.Error("the block is trusted after a restart")
		}
		closeStore(t, s)
	})
}
