package swarm

import (
	"bytes"
	"crypto/sha1"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"

	"torrentfs/cache/state"
	"torrentfs/internal/bitset"
	"torrentfs/metainfo"
	"torrentfs/metainfo/bencode"
)

// payload makes a torrent of one file of random bytes.
func payload(t testing.TB, size, pieceLength int) (*metainfo.Info, []byte) {
	t.Helper()
	data := make([]byte, size)
	r := rand.NewChaCha8([32]byte{byte(size), byte(pieceLength >> 14)})
	r.Read(data)
	var pieces []byte
	for p := data; len(p) > 0; p = p[min(pieceLength, len(p)):] {
		h := sha1.Sum(p[:min(pieceLength, len(p))])
		pieces = append(pieces, h[:]...)
	}
	b, err := bencode.Encode(map[string]any{
		"name": "payload", "piece length": int64(pieceLength), "length": int64(size), "pieces": string(pieces),
	})
	if err != nil {
		t.Fatal(err)
	}
	info, err := metainfo.ParseInfo(b, metainfo.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return info, data
}

// memStore is a store in memory. It checks what the engine promises: no block
// of a committed piece is put, no piece is committed before all its blocks are.
type memStore struct {
	info *metainfo.Info

	mu       sync.Mutex
	data     []byte
	put      []bitset.Set
	have     bitset.Set
	good     []bitset.Set // blocks committed by themselves
	doubtful bitset.Set
	broken   error        // of every read, if set
	rotten   map[int]bool // pieces that cannot be read back, until they are put anew
	nth      int          // of the reads of the disk each nth fails, if set
	lame     bool         // only checks can read
	unsynced []int        // pieces that are in doubt at the next look
	events   []state.Event
	changed  chan struct{} // holds one token
	reads    int           // of the disk, in blocks; those that failed, too
	full     bool          // takes nothing to disk
	dirty    int64         // what Dirty says; Drop gives up the lowest pieces
	faults   []string
}

func newMemStore(info *metainfo.Info) *memStore {
	s := &memStore{
		info: info, data: make([]byte, info.Size()), put: make([]bitset.Set, info.NumPieces()), good: make([]bitset.Set, info.NumPieces()),
		have: bitset.New(info.NumPieces()), doubtful: bitset.New(info.NumPieces()), changed: make(chan struct{}, 1),
	}
	for i := range s.put {
		s.put[i] = bitset.New(info.NumBlocks(i))
		s.good[i] = bitset.New(info.NumBlocks(i))
	}
	for _, v := range info.VirtualBlocks() { // they come from nobody
		for b := v.First; b < v.First+v.Count; b++ {
			s.put[v.Piece].Set(b)
			s.good[v.Piece].Set(b)
		}
	}
	return s
}

// errRotten is how a sector that cannot be read shows.
var errRotten = errors.New("input/output error")

// fullStore holds the whole payload.
func fullStore(info *metainfo.Info, data []byte) *memStore {
	s := newMemStore(info)
	copy(s.data, data)
	s.have.SetRange(0, info.NumPieces())
	return s
}

func (s *memStore) Held() []uint64    { return append([]uint64(nil), s.have...) }
func (s *memStore) InDoubt() []uint64 { return append([]uint64(nil), s.doubtful...) }

func (s *memStore) Dirty() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dirty
}

func (s *memStore) Stalled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.full
}

func (s *memStore) Invalidate(piece metainfo.Piece, reason error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.distrust(piece) {
		s.events = append(s.events, state.Event{Piece: piece, To: state.InDoubt, Err: reason})
		s.tell()
	}
}

// distrust puts a piece in doubt; mu is held.
func (s *memStore) distrust(piece metainfo.Piece) bool {
	if !s.have.Clear(piece) {
		return false
	}
	clear(s.put[piece])
	s.doubtful.Set(piece)
	return true
}

// tell has the engine look at the store.
func (s *memStore) tell() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

func (s *memStore) Changed() <-chan struct{} { return s.changed }

func (s *memStore) Events() []state.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.unsynced {
		if s.distrust(p) {
			s.events = append(s.events, state.Event{Piece: p, To: state.InDoubt})
		}
	}
	events := s.events
	s.events, s.unsynced = nil, nil
	return events
}

func (s *memStore) Drop(most int64) (lost []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.full {
		return nil // it works: waiting is enough
	}
	for i := s.have.Next(0); i >= 0 && s.dirty > most; i = s.have.Next(i + 1) {
		s.have.Clear(i)
		clear(s.put[i])
		s.dirty -= s.info.PieceSize(i)
		lost = append(lost, i)
	}
	return lost
}

func (s *memStore) Put(at metainfo.Block, data []byte) {
	piece, block := at.Piece, at.Index
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.have.Has(piece) {
		s.faults = append(s.faults, fmt.Sprintf("put block %d of committed piece %d", block, piece))
		return
	}
	if s.good[piece].Has(block) {
		return // as the real one does
	}
	copy(s.data[int64(piece)*s.info.PieceLength()+int64(block)*blockSize:], data)
	s.put[piece].Set(block)
	delete(s.rotten, piece)
	if s.full {
		s.dirty += int64(len(data))
	}
}

func (s *memStore) Unverified(at metainfo.Block, scratch []byte) ([]byte, error) {
	piece, block := at.Piece, at.Index
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return nil, s.broken
	}
	if s.rotten[piece] || s.fails() {
		return nil, errRotten
	}
	off := int64(piece)*s.info.PieceLength() + int64(block)*blockSize
	return append(scratch[:0], s.data[off:off+int64(s.info.BlockLen(piece, block))]...), nil
}

// fails counts a read of the disk and says whether it is one that fails.
func (s *memStore) fails() bool {
	s.reads++
	return s.nth > 0 && s.reads%s.nth == 0
}

func (s *memStore) Commit(piece metainfo.Piece) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.put[piece].Count(); n != s.info.NumBlocks(piece) && !s.doubtful.Has(piece) {
		s.faults = append(s.faults, fmt.Sprintf("commit of piece %d with %d blocks", piece, n))
	}
	s.have.Set(piece)
	return true
}

func (s *memStore) Discard(piece metainfo.Piece) {
	s.mu.Lock()
	defer s.mu.Unlock()
	copy(s.put[piece], s.good[piece])
	s.doubtful.Clear(piece)
}

func (s *memStore) CommitBlock(at metainfo.Block) bool {
	piece, block := at.Piece, at.Index
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.put[piece].Has(block) {
		s.faults = append(s.faults, fmt.Sprintf("commit of block %d of piece %d, which was not put", block, piece))
		return true
	}
	s.good[piece].Set(block)
	return true
}

func (s *memStore) DiscardBlock(at metainfo.Block) {
	piece, block := at.Piece, at.Index
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.good[piece].Has(block) || s.have.Has(piece) {
		s.faults = append(s.faults, fmt.Sprintf("discard of committed block %d of piece %d", block, piece))
	}
	s.put[piece].Clear(block)
}

func (s *memStore) HasBlock(at metainfo.Block) bool {
	piece, block := at.Piece, at.Index
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.have.Has(piece) || block < s.info.NumBlocks(piece) && s.good[piece].Has(block)
}

func (s *memStore) Blocks(yield func(piece metainfo.Piece, blocks []uint64) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, g := range s.good {
		if !s.have.Has(i) && g.Count() > 0 && !yield(i, append([]uint64(nil), g...)) {
			return
		}
	}
}

func (s *memStore) Has(piece metainfo.Piece) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.have.Has(piece)
}

// errMissing is why a read ends before a byte that is not committed.
var errMissing = errors.New("missing")

func (s *memStore) Read(p []byte, off int64) (n int, missing metainfo.ByteRange, err error) {
	n, err = s.ReadAt(p, off)
	if errors.Is(err, errMissing) {
		return n, metainfo.ByteRange{Off: off + int64(n), Len: int64(len(p) - n)}, nil
	}
	return n, missing, err
}

func (s *memStore) ReadAt(p []byte, off int64) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n < len(p) {
		piece := s.info.PieceOf(off)
		start := int64(piece) * s.info.PieceLength()
		end := min(start+s.info.PieceLength(), s.info.Size())
		if !s.have.Has(piece) {
			block := int((off - start) / blockSize)
			if off-start >= s.info.PieceSize(piece) || !s.good[piece].Has(block) {
				return n, errMissing
			}
			end = min(end, start+int64(block+1)*blockSize)
		}
		first, second := s.fails() || s.lame, false
		if first { // as the real one it tries twice
			second = s.fails() || s.lame
		}
		if s.rotten[piece] || first && second {
			return n, errRotten
		}
		k := copy(p[n:], s.data[off:end])
		n, off = n+k, off+int64(k)
	}
	return n, nil
}

func (s *memStore) Section(int64, int) (*os.File, int64, bool) { return nil, 0, false }

// check fails the test where the engine broke a promise or the data differs.
func (s *memStore) check(t testing.TB, want []byte) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		t.Error(f)
	}
	for i := s.have.Next(0); i >= 0; i = s.have.Next(i + 1) {
		off := int64(i) * s.info.PieceLength()
		end := off + s.info.PieceSize(i)
		if !bytes.Equal(s.data[off:end], want[off:end]) {
			t.Errorf("piece %d is committed and wrong", i)
		}
	}
	for i, g := range s.good {
		for b := g.Next(0); b >= 0; b = g.Next(b + 1) {
			off := int64(i)*s.info.PieceLength() + int64(b)*blockSize
			end := off + int64(s.info.BlockLen(i, b))
			if !bytes.Equal(s.data[off:end], want[off:end]) {
				t.Errorf("block %d of piece %d is committed and wrong", b, i)
			}
		}
	}
}
