package swarm

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"torrentfs/metainfo"
	"torrentfs/picker"
)

// hitReport is after how many bytes without a wait the picker hears of a
// reader's progress: often enough to learn its speed, seldom enough to cost nothing.
const hitReport = 256 << 10

// Reader reads a torrent for one open file or stream. Its reads block until
// the bytes are verified; its history is what the picker predicts from, so
// each open file has one of its own. Its methods may be called concurrently.
type Reader struct {
	t     *Torrent
	id    picker.ReaderID
	label any
	hints hints

	mu         sync.Mutex         // guards what follows; a leaf
	unreported metainfo.ByteRange // read without a wait
}

// NewReader opens a reader. The label comes back in [Stats] for reads that wait.
func (t *Torrent) NewReader(label any) *Reader {
	return &Reader{t: t, id: picker.ReaderID(t.reads.readers.Add(1)), label: label}
}

// ReadAt fills p with verified bytes at off, an offset in the piece space. It
// blocks until all are there, ctx ends or the torrent is closed, or fails with an
// [UnavailableError] by its [ReadPolicy]; it never returns a wrong byte. n < len(p) only with an error, [io.EOF] at the end of
// the torrent.
func (r *Reader) ReadAt(ctx context.Context, p []byte, off int64) (n int, err error) {
	t := r.t
	if err := t.Err(); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, fmt.Errorf("read torrent: negative offset %d", off)
	}
	if end := t.info.Size(); off+int64(len(p)) > end {
		if off >= end {
			return 0, io.EOF
		}
		n, err = r.ReadAt(ctx, p[:end-off], off)
		if err == nil {
			err = io.EOF
		}
		return n, err
	}
	var since time.Time // that it waits
	invalidated := 0
	for {
		k, missing, err := t.store.Read(p[n:], off+int64(n))
		if n += k; k > 0 {
			invalidated = 0
		}
		if n == len(p) {
			if since.IsZero() {
				r.noteHit(off, int64(n))
			}
			return n, nil
		}
		if err != nil {
			if invalidated++; invalidated > maxInvalidations {
				return n, err
			}
			t.store.Invalidate(t.info.PieceOf(off+int64(n)), err)
			missing = metainfo.ByteRange{Off: off + int64(n), Len: int64(len(p) - n)}
		}
		if since.IsZero() {
			since = time.Now()
		}
		if err := r.wait(ctx, missing, since); err != nil {
			return n, err
		}
	}
}

// wait blocks until the bytes are verified. since is when the read began to wait.
func (r *Reader) wait(ctx context.Context, bytes metainfo.ByteRange, since time.Time) error {
	t := r.t
	r.flushHits()
	d := &blockedRead{reader: r.id, off: bytes.Off, n: int(bytes.Len), label: r.label, since: since, done: make(chan error, 1)}
	select {
	case t.reads.blocked <- d:
	case <-ctx.Done():
		return ctx.Err()
	case <-t.done:
		return ErrClosed
	}
	select {
	case err := <-d.done:
		return err
	case <-ctx.Done():
		select {
		case t.reads.dropped <- d:
		case <-t.done:
		}
		return ctx.Err()
	case <-t.done:
		return ErrClosed
	}
}

// Hit tells of bytes that were read past this reader, from memory: its speed
// and direction are learned from these too.
func (r *Reader) Hit(off int64, n int) { r.noteHit(off, int64(n)) }

func (r *Reader) noteHit(off, n int64) {
	if r.t.pieces.allHeld.Load() {
		return // nothing left to predict
	}
	r.mu.Lock()
	if r.unreported.Len > 0 && r.unreported.Off+r.unreported.Len != off {
		h := readHit{r.id, r.unreported}
		r.unreported = metainfo.ByteRange{Off: off, Len: n}
		r.mu.Unlock()
		r.report(h)
		return
	}
	if r.unreported.Len == 0 {
		r.unreported.Off = off
	}
	r.unreported.Len += n
	var h readHit
	if r.unreported.Len >= hitReport {
		h = readHit{r.id, r.unreported}
		r.unreported.Len = 0
	}
	r.mu.Unlock()
	if h.bytes.Len > 0 {
		r.report(h)
	}
}

func (r *Reader) flushHits() {
	r.mu.Lock()
	h := readHit{r.id, r.unreported}
	r.unreported.Len = 0
	r.mu.Unlock()
	if h.bytes.Len > 0 {
		r.report(h)
	}
}

func (r *Reader) report(h readHit) {
	select {
	case r.t.reads.hits <- h:
	case <-r.t.done:
	}
}

// Close ends the reader: what was fetched ahead for it is no longer urgent.
// Reads under way end by their own contexts.
func (r *Reader) Close() error {
	t := r.t
	select {
	case t.calls <- func() { t.picker.ReaderClose(t.now(), r.id); t.reads.closeHints(r) }:
	case <-t.done:
	}
	return nil
}
