package cache

import (
	"errors"
	"fmt"
	"io"
	"os"

	"torrentfs/metainfo"
)

// Read reads verified bytes of the piece space, which p does not exceed; padding is zeros. n bytes
// are here, and missing is the rest of p if its first byte is not verified; it has length 0 if all of p
// is here. An error is the disk's, at the byte after the n first, which is verified: see
// [Store.Invalidate].
func (s *Store) Read(p []byte, off int64) (n int, missing metainfo.ByteRange, err error) {
	if !s.guard.enter() {
		return 0, missing, ErrClosed
	}
	defer s.guard.leave()
	for {
		before := s.forgotten.Load()
		here := s.available(off, len(p))
		n, err = s.readVerified(p[:here], off, before)
		if s.forgotten.Load() != before {
			continue // a hole may have come into what was read
		}
		if err == nil && n < len(p) {
			missing = metainfo.ByteRange{Off: off + int64(n), Len: int64(len(p) - n)}
		}
		return n, missing, err
	}
}

// ReadAt is Read as [io.ReaderAt] has it: at the first byte that is not verified it stops with the
// bytes before it and [ErrMissing], at the end of the piece space with [io.EOF].
func (s *Store) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read at %d: negative offset", off)
	}
	var end error
	if rest := s.lay.size - off; int64(len(p)) > rest {
		p, end = p[:max(rest, 0)], io.EOF
	}
	n, missing, err := s.Read(p, off)
	switch {
	case err != nil:
		return n, err
	case missing.Len > 0:
		return n, ErrMissing
	}
	return n, end
}

// available is how many of the n bytes at off are verified.
func (s *Store) available(off int64, n int) int {
	if n == 0 {
		return 0
	}
	last := int((off + int64(n) - 1) / s.lay.pieceLen)
	for piece := int(off / s.lay.pieceLen); piece <= last; piece++ {
		if s.states.readable(piece) {
			continue
		}
		from := max(int64(piece)*s.lay.pieceLen, off)
		if !s.states.incomplete(piece) {
			return int(from - off)
		}
		end := min(int64(piece+1)*s.lay.pieceLen, off+int64(n))
		if m := s.availableBlocks(piece, from, end); m < end-from && !s.states.readable(piece) {
			return int(from + m - off)
		}
	}
	return n
}

// readVerified fills p from memory where it can, and reads each stretch in
// between from disk in one go. before is what forgotten was when the pieces
// were seen to be verified.
func (s *Store) readVerified(p []byte, off int64, before uint64) (int, error) {
	end := off + int64(len(p))
	disk := off // [disk, o) is to be read from disk
	for o := off; o < end; {
		piece, block, start, n, next := s.lay.at(o)
		if n > 0 {
			if b := s.inMemory(piece, block); b != nil {
				if n, err := s.fill(p[disk-off:o-off], disk, before); err != nil {
					return int(disk-off) + n, err
				}
				copy(p[o-off:], b[o-start:])
				disk = min(next, end)
			}
		}
		o = next
	}
	if n, err := s.fill(p[disk-off:], disk, before); err != nil {
		return int(disk-off) + n, err
	}
	return len(p), nil
}

// fill reads from disk, and copies blocks that are read again and again into
// the memory tier. With an error n tells how much could be read before it.
func (s *Store) fill(p []byte, off int64, before uint64) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := s.readDisk(p, off); err != nil {
		if n, err = s.readUpTo(p, off, err); err != nil {
			return n, err
		}
	}
	if s.forgotten.Load() != before {
		return len(p), nil // it may have a hole: nothing to keep, and the caller reads again
	}
	end := off + int64(len(p))
	for o := off; o < end; {
		piece, block, start, n, next := s.lay.at(o)
		if n > 0 && start >= off && next <= end {
			if key := s.key(piece, block); s.cache.mem.again(key) {
				s.cache.mem.add(key, append([]byte(nil), p[start-off:next-off]...), true)
			}
		}
		o = next
	}
	return len(p), nil
}

// readUpTo reads block by block what could not be read in one go for the given
// reason: the fault is one block's, or is gone.
func (s *Store) readUpTo(p []byte, off int64, reason error) (n int, err error) {
	if !diskFault(reason) {
		return 0, reason
	}
	for n < len(p) {
		at := off + int64(n)
		_, _, _, _, next := s.lay.at(at)
		m := min(int(next-at), len(p)-n)
		if err := s.readDisk(p[n:n+m], at); err != nil {
			return n, err
		}
		n += m
	}
	s.disk.failReading(reason)
	return n, nil
}

// readDisk fills p from the files. Files that are missing or too short are
// [ErrMissing]. What the disk does not give it is asked for twice: one that
// fails now and then is outlived.
func (s *Store) readDisk(p []byte, off int64) error {
	for part := range s.lay.parts(off, int64(len(p))) {
		dst := p[part.off-off:][:part.n]
		if part.file < 0 {
			clear(dst)
			continue
		}
		err := s.readFile(dst, part)
		if err == nil {
			continue
		}
		if !hangs(err) { // else it says all that
			err = &DiskError{Op: "read", Path: s.lay.files[part.file].Path, Err: err}
		}
		if !diskFault(err) || s.readFile(dst, part) != nil {
			return err
		}
		s.disk.failReading(err)
	}
	return nil
}

// diskFault reports whether a read failed for the disk's sake: the bytes may be
// there and right.
func diskFault(err error) bool { return !errors.Is(err, ErrChanged) && !errors.Is(err, ErrMissing) }

// askDisk is readFile without a thought for a disk that hangs.
func (s *Store) askDisk(dst []byte, p part) error {
	h, err := s.cache.files.acquire(fileKey{s, p.file, false})
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrMissing, err)
	}
	if err != nil {
		return err
	}
	defer s.cache.files.release(h)
	n, err := h.f.ReadAt(dst, p.at)
	if n == len(dst) {
		return s.intact(p.file, h.f)
	}
	if err == io.EOF {
		return errNoBytes
	}
	return err
}

// Memory returns the n verified bytes at off without a copy if all of them
// are in memory. The buffers follow each other; nobody changes them, and they
// stay valid for as long as the caller keeps them.
func (s *Store) Memory(off int64, n int) (bufs [][]byte, ok bool) {
	if !s.guard.enter() {
		return nil, false
	}
	defer s.guard.leave()
	if off < 0 || n <= 0 || off+int64(n) > s.lay.size || s.available(off, n) < n {
		return nil, false
	}
	end := off + int64(n)
	for off < end {
		piece, block, start, size, next := s.lay.at(off)
		var b []byte
		switch {
		case size == 0:
			b, start = zeros[:min(next-off, metainfo.BlockSize)], off
			next = off + int64(len(b))
		default:
			if b = s.inMemory(piece, block); b == nil {
				return nil, false
			}
		}
		if bufs == nil {
			bufs = make([][]byte, 0, (end-off)/metainfo.BlockSize+2)
		}
		b = b[off-start : min(next, end)-start : min(next, end)-start]
		bufs = append(bufs, b)
		off = next
	}
	return bufs, true
}
