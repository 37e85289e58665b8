package hashing

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"torrentfs/internal/bitset"
	"torrentfs/metainfo"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errDisk = errors.New("input/output error")

// memStore is a store in memory, which checks what a Hasher promises.
type memStore struct {
	info *metainfo.Info

	mu        sync.Mutex
	data      []byte // as put
	put       []bitset.Set
	good      []bitset.Set // blocks committed by themselves
	committed bitset.Set
	stale     int // commits that are refused, for a file was changed
	fails     int // reads that fail, one after the other
	faults    []string
}

func newMemStore(info *metainfo.Info) *memStore {
	s := &memStore{info: info, data: make([]byte, info.Size()), committed: bitset.New(info.NumPieces())}
	for p := range info.NumPieces() {
		s.put = append(s.put, bitset.New(info.NumBlocks(p)))
		s.good = append(s.good, bitset.New(info.NumBlocks(p)))
	}
	for _, v := range info.VirtualBlocks() { // they come from nobody
		s.put[v.Piece].SetRange(v.First, v.First+v.Count)
		s.good[v.Piece].SetRange(v.First, v.First+v.Count)
	}
	return s
}

func (s *memStore) block(piece metainfo.Piece, block int) []byte {
	off := int64(piece)*s.info.PieceLength() + int64(block)*blockSize
	return s.data[off : off+int64(s.info.BlockLen(piece, block))]
}

func (s *memStore) putBlock(piece metainfo.Piece, block int, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.good[piece].Has(block) {
		copy(s.block(piece, block), data)
		s.put[piece].Set(block)
	}
}

// discard drops what is not verified of a piece.
func (s *memStore) discard(piece metainfo.Piece) {
	s.mu.Lock()
	defer s.mu.Unlock()
	copy(s.put[piece], s.good[piece])
}

func (s *memStore) Unverified(b metainfo.Block, scratch []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails > 0 {
		s.fails--
		return nil, errDisk
	}
	return append(scratch[:0], s.block(b.Piece, b.Index)...), nil
}

func (s *memStore) Commit(piece metainfo.Piece) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stale > 0 {
		s.stale--
		return false
	}
	if n := s.put[piece].Count(); n != s.info.NumBlocks(piece) {
		s.faults = append(s.faults, fmt.Sprintf("commit of piece %d with %d blocks", piece, n))
	}
	s.committed.Set(piece)
	return true
}

func (s *memStore) CommitBlock(b metainfo.Block) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.put[b.Piece].Has(b.Index) {
		s.faults = append(s.faults, fmt.Sprintf("commit of block %d of piece %d, which was not put", b.Index, b.Piece))
	}
	s.good[b.Piece].Set(b.Index)
	return true
}

func (s *memStore) DiscardBlock(b metainfo.Block) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.good[b.Piece].Has(b.Index) || s.committed.Has(b.Piece) {
		s.faults = append(s.faults, fmt.Sprintf("discard of committed block %d of piece %d", b.Index, b.Piece))
	}
	s.put[b.Piece].Clear(b.Index)
}

func (s *memStore) HasBlock(b metainfo.Block) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.committed.Has(b.Piece) || s.good[b.Piece].Has(b.Index)
}

// check fails the test if a promise was broken, or if a committed byte differs.
func (s *memStore) check(t interface{ Fatalf(string, ...any) }, want []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		t.Fatalf("%s", f)
	}
	for p := range s.info.NumPieces() {
		for b := range s.info.NumBlocks(p) {
			off := int64(p)*s.info.PieceLength() + int64(b)*blockSize
			got := s.block(p, b)
			if (s.committed.Has(p) || s.good[p].Has(b)) && !bytes.Equal(got, want[off:off+int64(len(got))]) {
				t.Fatalf("block %d of piece %d is committed and wrong", b, p)
			}
		}
	}
}

type memContent struct{ *bytes.Reader }

func (memContent) Close() error { return nil }

// content makes a torrent of files of random bytes, and its piece space.
func content(t testing.TB, v metainfo.Version, pieceLength int64, sizes ...int64) (*metainfo.MetaInfo, []byte) {
	t.Helper()
	spec := metainfo.CreateSpec{Name: "content", Version: v, PieceLength: pieceLength, Workers: 1}
	bodies := map[string][]byte{}
	for i, size := range sizes {
		body := make([]byte, size)
		rand.NewChaCha8([32]byte{byte(i), byte(size), byte(size >> 8)}).Read(body)
		name := fmt.Sprintf("f%03d", i)
		bodies[name] = body
		spec.Files = append(spec.Files, metainfo.SourceFile{
			Path: []string{name}, Length: size,
			Open: func() (metainfo.Content, error) { return memContent{bytes.NewReader(body)}, nil },
		})
	}
	raw, err := metainfo.Create(context.Background(), spec)
	if err != nil {
		t.Fatal(err)
	}
	mi, err := metainfo.Parse(raw, metainfo.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, mi.Info.Size())
	for i := range mi.Info.Files {
		f := &mi.Info.Files[i]
		copy(data[f.Offset:], bodies[path.Base(f.Path)])
	}
	return mi, data
}
