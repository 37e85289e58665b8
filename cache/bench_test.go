package cache

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"syscall"
	"testing"
	"time"

	"torrentfs/metainfo"
)

// cpu is what this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkPut takes blocks to the page cache: Put, Commit, and the write
// behind them. One operation is one block of 16 KiB; the blocks of each piece
// come in a random order.
func BenchmarkPut(b *testing.B) {
	for _, bc := range []struct {
		name     string
		pieceLen int64
	}{{"256KiB", 256 << 10}, {"4MiB", 4 << 20}} {
		b.Run(bc.name, func(b *testing.B) { benchPut(b, bc.pieceLen) })
	}
}

func benchPut(b *testing.B, pieceLen int64) {
	const size = 512 << 20
	tor := newTorrent(b, pieceLen, entry{path: "f", size: size})
	tor.data = nil
	var used time.Duration
	room := make(chan struct{}, 1)
	b.SetBytes(metainfo.BlockSize)
	b.ReportAllocs()
	// The buffers are the swarm's to allocate: they are made beforehand.
	bufs := make([][]byte, 2048)
	for i := range bufs {
		bufs[i] = bytes.Repeat([]byte{byte(i)}, metainfo.BlockSize)
	}
	perPiece := tor.BlocksPerPiece()
	order := rand.Perm(perPiece)
	b.ResetTimer()
	b.StopTimer()
	for n := 0; n < b.N; {
		c := newCache(b, 0)
		s := openStore(b, c, tor, Options{DataDir: b.TempDir(), onWritten: func() { signal(room) }})
		runtime.GC()
		b.StartTimer()
		from := cpu()
		for p := 0; p < tor.NumPieces() && n < b.N; p++ {
			for i := 0; i < perPiece; i++ {
				s.Put(metainfo.Block{Piece: p, Index: order[i]}, bufs[n%len(bufs)])
				n++
			}
			s.Commit(p)
			for s.Dirty() > 16<<20 {
				<-room
			}
		}
		syncErr := s.writeFlush()
		used += cpu() - from
		b.StopTimer()
		if syncErr != nil {
			b.Fatal(syncErr)
		}
		closeStore(b, s)
	}
	b.ReportMetric(used.Seconds()/(float64(b.N)*metainfo.BlockSize/1e9), "cpu-s/GB")
}

// writeFlush waits until all is written, without a sync.
func (s *Store) writeFlush() error {
	reply := make(chan error, 1)
	s.write.flush <- reply
	return <-reply
}

func BenchmarkRead(b *testing.B) {
	const size, n = 64 << 20, 128 << 10
	tor := newTorrent(b, 1<<20, entry{path: "f", size: size})
	fill := func(b *testing.B, memory int64) *Store {
		s := openStore(b, newCache(b, memory), tor, Options{DataDir: b.TempDir()})
		tor.fetchAll(s)
		syncStore(b, s)
		return s
	}
	buf := make([]byte, n)
	readAll := func(b *testing.B, s *Store) {
		b.SetBytes(n)
		b.ReportAllocs()
		off := int64(0)
		for b.Loop() {
			if _, err := s.ReadAt(buf, off); err != nil {
				b.Fatal(err)
			}
			off = (off + n) % size
		}
	}
	b.Run("memory", func(b *testing.B) { readAll(b, fill(b, 512<<20)) })
	b.Run("page-cache", func(b *testing.B) { readAll(b, fill(b, minMemory)) })
	b.Run("Memory", func(b *testing.B) {
		s := fill(b, 512<<20)
		b.SetBytes(n)
		b.ReportAllocs()
		off, misses := int64(0), 0
		for b.Loop() {
			if _, ok := s.Memory(off, n); !ok {
				misses++
			}
			off = (off + n) % size
		}
		b.ReportMetric(float64(misses)/float64(b.N), "misses/op")
	})
	b.Run("Has", func(b *testing.B) {
		s := fill(b, minMemory)
		for b.Loop() {
			s.Has(17)
		}
	})
}

// BenchmarkOpen is a start with a great torrent: 100,000 files that are all
// there, from a clean snapshot.
func BenchmarkOpen(b *testing.B) {
	var files []entry
	for i := range 100_000 {
		files = append(files, entry{path: fmt.Sprintf("d%d/f%d", i/1000, i), size: 100})
	}
	tor := newTorrent(b, 16<<10, files...)
	c, dir := newCache(b, 0), b.TempDir()
	s := openStore(b, c, tor, Options{DataDir: dir})
	from := time.Now()
	tor.fetchAll(s)
	syncStore(b, s)
	b.Logf("100,000 files written and synced in %v", time.Since(from))
	closeStore(b, s)
	for b.Loop() {
		s, err := c.Open(tor.Info, Options{DataDir: dir})
		if err != nil {
			b.Fatal(err)
		}
		if !s.FileComplete(77_777) {
			b.Fatal("not complete")
		}
		closeStore(b, s)
	}
}
