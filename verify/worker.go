package verify

import (
	"context"
	"crypto/sha1" //nolint:gosec // BEP 3 hashes pieces with it
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"os"

	"torrentfs/metainfo"
)

// worker hashes pieces. It keeps the file that it read last open, so that a
// large file is opened once and a million small ones need one descriptor.
type worker struct {
	*check
	file  *os.File // nil if none is open
	index int      // of file in info.Files

	buf    []byte // one block
	v1     hash.Hash
	leaves []metainfo.SHA256
}

// work hashes pieces until none is left or ctx ends.
func (c *check) work(ctx context.Context) {
	w := &worker{check: c, buf: make([]byte, metainfo.BlockSize), v1: sha1.New()} //nolint:gosec // BEP 3
	defer w.closeFile()
	for ctx.Err() == nil {
		piece := int(c.next.Add(1) - 1)
		if piece >= c.info.NumPieces() {
			return
		}
		if w.right(ctx, piece) {
			w.credit(piece)
		}
		c.advance(c.info.PieceSize(piece))
	}
}

// credit notes a good piece for the files that it covers.
func (c *check) credit(piece metainfo.Piece) {
	c.good.Add(1)
	for s := range c.info.Spans(int64(piece)*c.info.PieceLength(), c.info.PieceSize(piece)) {
		c.verified[s.File].Add(s.Length)
	}
}

// right reports whether a piece is there and has all hashes that the torrent
// gives for it: the one of v1, the tree of v2, for a hybrid both.
func (w *worker) right(ctx context.Context, piece metainfo.Piece) bool {
	w.v1.Reset()
	w.leaves = w.leaves[:0]
	for s := range w.info.Spans(int64(piece)*w.info.PieceLength(), w.info.PieceSize(piece)) {
		if ctx.Err() != nil || !w.span(s) {
			return false
		}
	}
	if w.info.Hash.HasV1 && metainfo.SHA1(w.v1.Sum(nil)) != w.info.PieceSHA1(piece) {
		return false
	}
	if !w.info.Hash.HasV2 {
		return true
	}
	sum := metainfo.PieceHash(w.leaves, w.tree[piece])
	if w.rooted != nil && w.rooted[piece] {
		w.sums[piece], w.hashed[piece] = sum, true
		return w.info.Hash.HasV1 // of v2 alone compareRoots tells
	}
	return sum == w.sums[piece]
}

// span hashes the part of one file that lies in a piece.
func (w *worker) span(s metainfo.FileSpan) bool {
	f := &w.info.Files[s.File]
	if f.Pad {
		return w.zeros(s.Length)
	}
	if f.Length > 0 && !w.open(s.File) {
		return false
	}
	for off, end := s.Offset, s.Offset+s.Length; off < end; {
		block := w.buf[:min(int64(len(w.buf)), end-off)]
		if n, err := w.file.ReadAt(block, off); n < len(block) || (err != nil && !errors.Is(err, io.EOF)) {
			return false
		}
		if w.info.Hash.HasV1 {
			w.v1.Write(block)
		}
		if w.info.Hash.HasV2 {
			w.leaves = append(w.leaves, sha256.Sum256(block))
		}
		off += int64(len(block))
	}
	return true
}

// zeros hashes a pad, which no disk holds and no v2 tree covers.
func (w *worker) zeros(n int64) bool {
	if !w.info.Hash.HasV1 {
		return true
	}
	clear(w.buf)
	for n > 0 {
		part := w.buf[:min(int64(len(w.buf)), n)]
		w.v1.Write(part)
		n -= int64(len(part))
	}
	return true
}

func (w *worker) open(index int) bool {
	if w.file != nil && w.index == index {
		return true
	}
	w.closeFile()
	if w.faults[index] != nil && !errors.Is(w.faults[index], ErrLength) {
		return false
	}
	f, err := w.root.Open(w.path(index))
	if err != nil {
		return false
	}
	w.file, w.index = f, index
	return true
}

func (w *worker) closeFile() {
	if w.file != nil {
		_ = w.file.Close()
		w.file = nil
	}
}
