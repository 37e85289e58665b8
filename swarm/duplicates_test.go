package swarm

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"torrentfs/metainfo"
	"torrentfs/swarm/pieces"
	"torrentfs/swarm/pieces/hashing"
)

// duplicateOf is a duplicate of one of the world's files that holds these bytes, and
// counts what is taken of it.
func (w *world) duplicateOf(file int, data []byte) (Duplicate, func() []int) {
	f := &w.info.Files[file]
	first := w.info.PieceOf(f.Offset)
	var mu sync.Mutex
	var filled []int
	return Duplicate{
		First: first, Pieces: w.info.PieceOf(f.Offset+f.Length-1) - first + 1, Path: "duplicate of " + f.Path,
		Fill: func(piece metainfo.Piece) error {
			mu.Lock()
			filled = append(filled, piece)
			mu.Unlock()
			if data == nil {
				return errors.New("it is gone")
			}
			from := int64(piece)*w.info.PieceLength() - f.Offset
			return w.store.fill(piece, data[from:min(from+w.info.PieceLength(), f.Length)])
		},
	}, func() []int {
		mu.Lock()
		defer mu.Unlock()
		return filled
	}
}

// fill puts bytes on the store's disk that nobody vouches for.
func (s *memStore) fill(piece metainfo.Piece, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.have.Has(piece) || s.put[piece].Count() > s.good[piece].Count() {
		s.faults = append(s.faults, fmt.Sprintf("fill of piece %d, of which something came", piece))
	}
	copy(s.data[int64(piece)*s.info.PieceLength():], data)
	s.put[piece].SetRange(0, s.info.NumBlocks(piece))
	return nil
}

// content of a file.
func (w *world) content(file int) []byte {
	f := &w.info.Files[file]
	return bytes.Clone(w.data[f.Offset : f.Offset+f.Length])
}

// What another torrent has is verified and not downloaded, whatever the piece
// length; what is wrong of it comes from peers.
func TestDuplicatesAreTaken(t *testing.T) {
	for _, v := range v2Versions {
		for _, c := range []struct {
			name   string
			spoil  func(data []byte) []byte // of the first file's duplicate; its pieces are of 64 KiB
			most   int64                    // bytes to come of the first file
			filled int                      // pieces that are tried at most
		}{
			{"right", func(b []byte) []byte { return b }, 0, 16},
			{"one piece wrong", func(b []byte) []byte { b[5*65536+7]++; return b }, 65536, 16},
			{"last block wrong", func(b []byte) []byte { b[len(b)-1]++; return b }, 65536, 16},
			{"all wrong", func(b []byte) []byte { clear(b); return b }, 16 * 65536, pieces.MaxWrong + hashing.MinCheckers - 1},
			{"gone", func([]byte) []byte { return nil }, 16 * 65536, pieces.MaxWrong + hashing.MinCheckers - 1},
		} {
			t.Run(fmt.Sprintf("%v/%s", v, c.name), func(t *testing.T) {
				inV2World(t, v, 64<<10, []int64{1<<20 - 5, 300_000}, Config{}, func(w *world) {
					w.serve(wan(100, 20*ms), w.options("seed"))
					duplicate, filled := w.duplicateOf(0, c.spoil(w.content(0)))
					tor := w.add(TorrentConfig{Prefetch: true})
					if err := tor.Offer([]Duplicate{duplicate}); err != nil {
						t.Fatal(err)
					}
					w.await(tor, time.Minute)
					s := tor.Stats()
					if got := s.Downloaded - 300_000; got > c.most+16384 || c.most > 0 && got <= 0 {
						t.Errorf("%d bytes of the file were downloaded, %d were wrong", got, c.most)
					}
					if want := int64(1<<20-5) - c.most; s.Taken < want || s.Taken > max(want, 0)+5 {
						t.Errorf("%d bytes were taken, want %d", s.Taken, want)
					}
					if n := len(filled()); n > c.filled {
						t.Errorf("%d pieces were copied", n)
					}
					w.store.check(t, w.data)
				})
			})
		}
	}
}

// A checker takes no piece of a duplicate while a verdict of its own is not heard: however long
// the loop is busy, no more is copied than the faults that a duplicate may have, and what the other
// checkers were at.
func TestDuplicateFaultsAreHeard(t *testing.T) {
	for range 20 {
		inV2World(t, metainfo.V2, 64<<10, []int64{1 << 20}, Config{}, func(w *world) {
			duplicate, filled := w.duplicateOf(0, make([]byte, 1<<20))
			tor := w.add(TorrentConfig{Prefetch: true})
			fill := duplicate.Fill
			duplicate.Fill = func(piece metainfo.Piece) error {
				busy := make(chan struct{})
				go tor.call(func() { close(busy); time.Sleep(ms) }) //nolint:errcheck // it was not closed
				<-busy
				return fill(piece)
			}
			if err := tor.Offer([]Duplicate{duplicate}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			if n := len(filled()); n < pieces.MaxWrong || n > pieces.MaxWrong+hashing.MinCheckers-1 {
				t.Errorf("%d pieces were copied", n)
			}
		})
	}
}

// Without a peer, and where only what is read is fetched, a read takes its
// own pieces, before those that the background takes; also one that waited
// before anything was known of the duplicate.
func TestDuplicatesServeReads(t *testing.T) {
	for _, prefetch := range []bool{false, true} {
		t.Run(fmt.Sprintf("prefetch=%v", prefetch), func(t *testing.T) {
			inV2World(t, metainfo.V2, 64<<10, []int64{4 << 20}, Config{}, func(w *world) {
				tor := w.add(TorrentConfig{Prefetch: prefetch})
				r := tor.NewReader(nil)
				defer r.Close()
				early := make(chan time.Duration)
				go func() { early <- w.read(r, 3<<20, 100, time.Minute) }()
				time.Sleep(time.Second)
				duplicate, filled := w.duplicateOf(0, w.content(0))
				if err := tor.Offer([]Duplicate{duplicate}); err != nil {
					t.Fatal(err)
				}
				if took := <-early; took > time.Second {
					t.Errorf("the read took %v", took)
				}
				w.read(r, 65536-10, 20, time.Minute)
				time.Sleep(time.Second)
				n := len(filled())
				if want := 64; prefetch && n != want || !prefetch && n != 3 {
					t.Errorf("%d pieces were copied", n)
				}
				if prefetch {
					w.await(tor, time.Minute)
				}
			})
		})
	}
}

// Pieces of which something came are left to the peers, and so are those that
// the user did not choose.
func TestDuplicatesKeepOutOfTheWay(t *testing.T) {
	inV2World(t, metainfo.V2, 4<<20, []int64{16 << 20}, Config{}, func(w *world) {
		w.serve(wan(100, 20*ms), w.options("seed"))
		tor := w.add(TorrentConfig{})
		r := tor.NewReader(nil)
		defer r.Close()
		w.read(r, 5<<20, 10, time.Minute)
		duplicate, filled := w.duplicateOf(0, w.content(0))
		if err := tor.Offer([]Duplicate{duplicate}); err != nil {
			t.Fatal(err)
		}
		w.read(r, 6<<20, 10, time.Minute)
		if n := filled(); len(n) != 0 {
			t.Errorf("pieces %v were copied", n)
		}
		w.read(r, 0, 10, time.Minute)
		if n := filled(); len(n) != 1 || n[0] != 0 {
			t.Errorf("pieces %v were copied", n)
		}
	})
}
