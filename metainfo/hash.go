package metainfo

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// readSize is how many bytes a hashing goroutine reads at a time. It is a multiple of BlockSize,
// and all the memory that one takes, for any piece length.
const readSize = 16 * BlockSize

// hasher hashes the content of a new torrent, piece by piece on several
// goroutines. Each piece is read once, for both hashes of a hybrid.
type hasher struct {
	c     *creation // immutable
	total int64     // immutable
	next  atomic.Int64

	// Each piece's entries are written by the goroutine that hashes it.
	sha1  []byte   // v1 hashes, one behind the other
	nodes []SHA256 // v2: by piece, its node; the root for files of one piece

	mu   sync.Mutex // guards what follows
	done int64
	open map[int]*openFile // by index in layout.Files
}

// openFile is a file that some goroutine still has pieces of.
type openFile struct {
	once    sync.Once
	content Content
	err     error
	pieces  int // left to be hashed; guarded by hasher.mu
}

func newHasher(c *creation) *hasher {
	h := &hasher{c: c, open: map[int]*openFile{}}
	n := c.layout.NumPieces()
	if c.spec.Version.hasV1() {
		h.sha1 = make([]byte, n*sha1.Size)
	}
	if c.spec.Version.hasV2() {
		h.nodes = make([]SHA256, n)
	}
	for i, s := range c.sources {
		if s >= 0 {
			h.total += c.layout.Files[i].Length
		}
	}
	return h
}

// run hashes everything, or returns the first error. All files are closed and
// all goroutines have ended when it returns.
func (h *hasher) run(ctx context.Context) error {
	workers := h.c.spec.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	workers = min(workers, h.c.layout.NumPieces())
	g, ctx := errgroup.WithContext(ctx)
	for range workers {
		g.Go(func() error { return h.work(ctx) })
	}
	err := g.Wait()
	for _, f := range h.open { // left over if it ended early
		if f.content != nil {
			err = errors.Join(err, f.content.Close())
		}
	}
	return err
}

// work hashes pieces, in ascending order, until there are no more.
func (h *hasher) work(ctx context.Context) error {
	w := &hashWorker{h: h, buf: make([]byte, readSize), v1: sha1.New()}
	for {
		piece := int(h.next.Add(1) - 1)
		if piece >= h.c.layout.NumPieces() {
			return nil
		}
		if err := w.piece(ctx, piece); err != nil {
			return err
		}
	}
}

// acquire returns the content of a file, opened by the first call that needs it.
func (h *hasher) acquire(file int) (Content, error) {
	h.mu.Lock()
	f := h.open[file]
	if f == nil {
		e := &h.c.layout.Files[file]
		g := &h.c.layout.Geometry
		f = &openFile{pieces: g.PieceOf(e.Offset+e.Length-1) - g.PieceOf(e.Offset) + 1}
		h.open[file] = f
	}
	h.mu.Unlock()
	f.once.Do(func() { f.content, f.err = h.c.spec.Files[h.c.sources[file]].Open() })
	return f.content, f.err
}

// release records that one more piece of a file is hashed; the last one closes it.
func (h *hasher) release(file int) error {
	h.mu.Lock()
	f := h.open[file]
	f.pieces--
	last := f.pieces == 0
	if last {
		delete(h.open, file)
	}
	h.mu.Unlock()
	if !last {
		return nil
	}
	return f.content.Close()
}

func (h *hasher) progress(n int) {
	if h.c.spec.Progress == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.done += int64(n)
	h.c.spec.Progress(h.done, h.total)
}

// layer is the piece layer of a v2 file.
func (h *hasher) layer(file int) []SHA256 {
	f := &h.c.layout.Files[file]
	first := h.c.layout.PieceOf(f.Offset)
	return h.nodes[first : first+int(ceilDiv(f.Length, h.c.spec.PieceLength))]
}

// root is the pieces root of a v2 file that is not empty.
func (h *hasher) root(file int) SHA256 {
	layer := h.layer(file)
	if len(layer) == 1 {
		return layer[0]
	}
	return LayerRoot(layer, LevelOf(h.c.spec.PieceLength))
}

// hashWorker is what one goroutine needs to hash pieces.
type hashWorker struct {
	h      *hasher
	buf    []byte
	v1     hash.Hash
	leaves []SHA256
}

func (w *hashWorker) piece(ctx context.Context, piece Piece) error {
	l := &w.h.c.layout
	w.v1.Reset()
	w.leaves = w.leaves[:0]
	levels := 0
	start := int64(piece) * l.PieceLength()
	for s := range l.Spans(start, l.PieceSize(piece)) {
		source := w.h.c.sources[s.File]
		if source < 0 {
			w.zeros(s.Length)
			continue
		}
		if w.h.c.spec.Version.hasV2() { // then it is the only file in this piece
			levels = min(LevelOf(l.PieceLength()), TreeHeight(l.Files[s.File].Length))
		}
		if err := w.span(ctx, s); err != nil {
			path := strings.Join(w.h.c.spec.Files[source].Path, "/")
			if path == "" {
				path = w.h.c.spec.Name
			}
			return fmt.Errorf("hash %q: %w", path, err)
		}
	}
	if w.h.sha1 != nil {
		w.v1.Sum(w.h.sha1[piece*sha1.Size : piece*sha1.Size : (piece+1)*sha1.Size])
	}
	if w.h.nodes != nil {
		w.h.nodes[piece] = PieceHash(w.leaves, levels)
	}
	return nil
}

// zeros hashes n bytes of padding, of which only v1 knows.
func (w *hashWorker) zeros(n int64) {
	clear(w.buf)
	for n > 0 {
		k := min(n, readSize)
		w.v1.Write(w.buf[:k])
		n -= k
	}
}

// span reads and hashes a file's part of a piece.
func (w *hashWorker) span(ctx context.Context, s FileSpan) error {
	content, err := w.h.acquire(s.File)
	if err != nil {
		return err
	}
	for off := s.Offset; off < s.Offset+s.Length; {
		if err := ctx.Err(); err != nil {
			return err
		}
		b := w.buf[:min(readSize, s.Offset+s.Length-off)]
		if n, err := content.ReadAt(b, off); n < len(b) {
			if err == nil || errors.Is(err, io.EOF) {
				return fmt.Errorf("ends at byte %d: shorter than it was", off+int64(n))
			}
			return err
		}
		w.bytes(b)
		w.h.progress(len(b))
		off += int64(len(b))
	}
	return w.h.release(s.File)
}

func (w *hashWorker) bytes(b []byte) {
	if w.h.sha1 != nil {
		w.v1.Write(b)
	}
	if w.h.nodes == nil {
		return
	}
	for len(b) > 0 {
		k := min(len(b), BlockSize)
		w.leaves = append(w.leaves, sha256.Sum256(b[:k]))
		b = b[k:]
	}
}
