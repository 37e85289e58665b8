package cache

import (
	"container/list"
	"errors"
	"fmt"
	"io"

	"torrentfs/cache/state"
	"torrentfs/internal/bitset"
	"torrentfs/metainfo"
)

// pieceBuf holds the blocks of a piece that is not sealed. All of it is
// guarded by the store's mu; the bytes of the blocks never change.
type pieceBuf struct {
	piece     int
	bufs      [][]byte // by block; nil: not put, or written and dropped
	state     []blockState
	unwritten int   // blocks in state waiting
	kept      int64 // bytes in bufs of blocks in state onDisk
	committed bool
	discarded bool
	good      bitset.Set    // blocks verified by themselves; nil: none
	told      bitset.Set    // of good, those that the journal knows of
	sums      []uint64      // of good ones (sumOf); 0: not known
	place     *list.Element // in the store's list of unverified pieces, while kept > 0
}

type blockState uint8

const (
	absent  blockState = iota
	waiting            // for the disk
	onDisk
)

// item is a block on its way to the disk.
type item struct {
	pb    *pieceBuf
	block int
	off   int64 // in the piece space
	data  []byte
}

// current reports whether the item is still what its piece holds: it may have
// been discarded or replaced meanwhile. mu is held.
func (it *item) current() bool {
	if it.pb.discarded {
		return false
	}
	return sameBytes(it.pb.bufs[it.block], it.data)
}

// sameBytes reports whether a and b begin in the same place of memory.
func sameBytes(a, b []byte) bool { return len(a) > 0 && len(b) > 0 && &a[0] == &b[0] }

// Put takes a block that came from the swarm and is not verified. It takes
// ownership of data, which nobody changes any more, and never waits for the
// disk. A block that was put before is replaced; one that is verified is
// ignored. A block of the wrong length is a mistake of the caller's and
// panics.
func (s *Store) Put(b metainfo.Block, data []byte) {
	piece, block := b.Piece, b.Index
	off, want := s.lay.block(piece, block)
	if len(data) != want {
		panic(fmt.Sprintf("cache: block %d of piece %d has %d bytes, want %d", block, piece, len(data), want))
	}
	if !s.guard.enter() {
		return
	}
	defer s.guard.leave()

	s.mu.Lock()
	if s.states.readable(piece) {
		s.mu.Unlock()
		return
	}
	pb := s.pieces[piece]
	if pb == nil {
		n := s.lay.geo.NumBlocks(piece)
		pb = &pieceBuf{piece: piece, bufs: make([][]byte, n), state: make([]blockState, n)}
		s.pieces[piece] = pb
		if !s.states.inDoubt(piece) {
			s.become(piece, state.Partial)
		}
	}
	if pb.isGood(block) {
		s.mu.Unlock()
		return
	}
	s.dropKept(pb, block)
	if pb.state[block] != waiting {
		pb.state[block] = waiting
		pb.unwritten++
	}
	pb.bufs[block] = data
	s.unsuspect(piece, block)
	s.enqueue(item{pb, block, off, data})
	s.mu.Unlock()
}

// enqueue has a block written; mu is held.
func (s *Store) enqueue(it item) {
	n := int64(len(it.data))
	if len(s.queue) == 0 {
		signal(s.write.kick)
	}
	if s.queued < gatherBytes && s.queued+n >= gatherBytes {
		signal(s.write.full)
	}
	s.queue = append(s.queue, it)
	s.queued += n
	s.dirty.Add(n)
}

// signal wakes the goroutine that waits for c, now or at its next look.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Unverified returns a block's bytes for hashing, verified or not: as they
// were put, else from disk; padding is zeros. The result is either scratch,
// grown if it is too small, or a buffer of the store's: read it only.
// The error is [ErrMissing] if there are no such bytes.
func (s *Store) Unverified(b metainfo.Block, scratch []byte) ([]byte, error) {
	piece, block := b.Piece, b.Index
	if !s.guard.enter() {
		return nil, ErrClosed
	}
	defer s.guard.leave()
	if data := s.inMemory(piece, block); data != nil {
		return data, nil
	}
	off, n := s.lay.block(piece, block)
	if cap(scratch) < n {
		scratch = make([]byte, n)
	}
	scratch = scratch[:n]
	s.readBack(piece, block)
	err := s.readDisk(scratch, off)
	if errors.Is(err, ErrChanged) { // what it is now is to be hashed
		for p := range s.lay.parts(off, int64(n)) {
			if p.file >= 0 {
				s.invalidateFile(p.file)
			}
		}
		s.readBack(piece, block)
		err = s.readDisk(scratch, off)
	}
	if err != nil {
		return nil, fmt.Errorf("read block %d of piece %d: %w", block, piece, err)
	}
	return scratch, nil
}

// Commit makes a piece whose hash was right readable. Its blocks that are
// still in memory enter the memory tier; it is journaled once it is synced.
//
// It is false, and the piece is not committed, if what was hashed may not be what
// is there: a file was changed by another program after blocks had been written
// to it, or blocks were discarded since. The caller, which hashes it, reads all of it
// anew then (Unverified).
func (s *Store) Commit(piece metainfo.Piece) bool {
	if !s.guard.enter() {
		return false
	}
	defer s.guard.leave()
	s.mu.Lock()
	if s.states.readable(piece) {
		s.mu.Unlock()
		return true
	}
	pb := s.pieces[piece]
	if s.suspicion.blocks[piece] != nil || !s.whole(piece) {
		s.mu.Unlock()
		return false
	}
	var bufs [][]byte
	if pb != nil {
		bufs = pb.bufs
		if pb.unwritten > 0 {
			bufs = append([][]byte(nil), bufs...) // the writer goes on with the piece's own
		}
		pb.committed = true
		s.unkeep(pb)
	}
	if readOnly := s.resume.refused != nil; !readOnly && (pb == nil || s.states.inDoubt(piece)) {
		// Its bytes may be another program's, or ours from before a crash:
		// nobody synced them.
		for file := range s.lay.filesOf(piece) {
			s.dirtyFiles[file] = struct{}{}
			for dir := range parents(s.lay.files[file].Path) {
				s.dirtyDirs[dir] = struct{}{}
			}
		}
	}
	s.become(piece, state.Verified)
	delete(s.filling, piece)
	var done []int
	if pb == nil || pb.unwritten == 0 {
		done = s.seal(piece)
	}
	s.mu.Unlock()

	for b, data := range bufs {
		if data != nil {
			s.cache.mem.add(s.key(piece, b), data, false)
		}
	}
	s.filesDone(done)
	return true
}

// whole reports whether all of a piece was put, or lay on disk when it was to be
// hashed; mu is held.
func (s *Store) whole(piece int) bool {
	if _, filling := s.filling[piece]; filling || s.states.inDoubt(piece) {
		return true
	}
	pb := s.pieces[piece]
	for b := range s.lay.geo.NumBlocks(piece) {
		if (pb == nil || pb.state[b] == absent) && s.lay.hasContent(piece, b) {
			return false
		}
	}
	return true
}

// seal notes that a piece is verified and written, and returns the files that
// this completes. mu is held.
func (s *Store) seal(piece int) (done []int) {
	delete(s.pieces, piece)
	s.become(piece, state.Written)
	if _, unsure := s.unsure[piece]; unsure {
		s.rewrites[piece] = struct{}{}
		signal(s.write.kick)
	} else {
		if len(s.toJournal) == 0 {
			signal(s.sync.sealKick)
		}
		s.toJournal = append(s.toJournal, piece)
	}
	for p := range s.lay.parts(s.lay.pieceRange(piece)) {
		if p.file < 0 {
			continue
		}
		s.fileBytes[p.file] += p.n
		if s.fileBytes[p.file] == s.lay.files[p.file].Length {
			s.complete.set(p.file)
			done = append(done, p.file)
		}
	}
	return done
}

func (s *Store) filesDone(done []int) {
	if s.opt.OnFileComplete == nil {
		return
	}
	for _, file := range done {
		s.opt.OnFileComplete(file)
	}
}

// wrote notes that items are on disk, and returns the files that this
// completes. mu is held.
func (s *Store) wrote(items []item) (done []int) {
	for i := range items {
		it := &items[i]
		if !it.current() || it.pb.state[it.block] != waiting {
			continue
		}
		pb := it.pb
		pb.state[it.block] = onDisk
		pb.unwritten--
		switch {
		case pb.committed:
			pb.bufs[it.block] = nil
		case pb.isGood(it.block):
			pb.bufs[it.block] = nil
			s.tellLater(pb.piece)
		default:
			s.keep(pb, int64(len(it.data)))
		}
		if pb.committed && pb.unwritten == 0 {
			done = append(done, s.seal(pb.piece)...)
		}
	}
	return done
}

// keep counts a written block of a piece that is not verified yet and drops
// the oldest such blocks beyond the budget. mu is held.
func (s *Store) keep(pb *pieceBuf, n int64) {
	if pb.place == nil {
		pb.place = s.unverified.PushBack(pb)
	}
	pb.kept += n
	s.kept += n
	for s.kept > s.opt.UnverifiedMemory {
		oldest := s.unverified.Front().Value.(*pieceBuf)
		for b := range oldest.bufs {
			s.dropKept(oldest, b)
			if s.kept <= s.opt.UnverifiedMemory {
				return
			}
		}
	}
}

// dropKept drops a block from memory if it is on disk as well. mu is held.
func (s *Store) dropKept(pb *pieceBuf, block int) {
	if pb.state[block] != onDisk || pb.bufs[block] == nil {
		return
	}
	n := int64(len(pb.bufs[block]))
	pb.bufs[block] = nil
	pb.kept -= n
	s.kept -= n
	if pb.kept == 0 && pb.place != nil {
		s.unverified.Remove(pb.place)
		pb.place = nil
	}
}

// unkeep takes a piece out of the budget of unverified blocks. mu is held.
func (s *Store) unkeep(pb *pieceBuf) {
	s.kept -= pb.kept
	pb.kept = 0
	if pb.place != nil {
		s.unverified.Remove(pb.place)
		pb.place = nil
	}
}

// inMemory returns the block if it is in memory, else nil.
func (s *Store) inMemory(piece, block int) []byte {
	if !s.states.onDisk(piece) {
		s.mu.Lock()
		var b []byte
		good := false
		if pb := s.pieces[piece]; pb != nil {
			b, good = pb.bufs[block], pb.isGood(block)
		}
		s.mu.Unlock()
		if b != nil || !good && !s.states.readable(piece) {
			return b
		}
	}
	return s.cache.mem.get(s.key(piece, block))
}

// errNoBytes is what a read of the disk makes of a short file.
var errNoBytes = fmt.Errorf("%w: %w", ErrMissing, io.ErrUnexpectedEOF)

var zeros [metainfo.BlockSize]byte
