package fs

import (
	"errors"
	"io"
	"os"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// pageSize is the size of the smallest read that the kernel sends for a cached file: a request of
// this size, or less at the end of the file, may have an application waiting for each of its bytes.
func pageSize() int { return os.Getpagesize() }

// Read answers one READ. It answers in full or fails: the application would take a short answer for
// the end of the file.
func (f *fileSystem) Read(cancel <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	if in.NodeId == probeNodeID {
		return f.readProbe(in, buf)
	}
	f.counters.reads.Add(1)
	h := f.handles.get(in.Fh)
	if h == nil {
		return nil, fuse.Status(errClosed)
	}
	if in.Offset >= uint64(h.size) {
		return fuse.ReadResultData(nil), fuse.OK
	}
	off := int64(in.Offset)
	n := int(min(int64(len(buf)), int64(in.Size), h.size-off))
	flushed, ok := h.begin()
	if !ok || f.isClosing() {
		if ok {
			h.end()
		}
		return nil, fuse.Status(errClosed)
	}
	defer h.end()
	sequential := h.note(off, n)
	h.media.note(h, in.Pid, off)
	if h.memory != nil {
		if bufs, ok := h.memory.Memory(off, n); ok && length(bufs) == n {
			f.counters.memory.Add(1)
			return fuse.ReadResultVector(bufs), fuse.OK
		}
	}
	direct := in.Flags&openDirect != 0
	if h.bounces(off, n, direct, sequential) {
		f.counters.bounced.Add(1)
		return nil, fuse.EAGAIN
	}
	if n <= pageSize() {
		h.pageWanted(off)
	}
	ctx := newReadContext(in.Pid, cancel, f.closing, flushed)
	ctx.foreground = direct || n <= pageSize() || !f.refaults.Load() || h.inode.wasBounced(off, n)
	ctx.waiting = &f.counters.waiting
	return h.readAt(ctx, buf[:n], off)
}

// readAt waits for bytes. It cleans up even after a panic of the File; that one reader gets EIO.
func (h *handle) readAt(ctx *readContext, p []byte, off int64) (fuse.ReadResult, fuse.Status) {
	waiting := &h.fs.counters.waiting
	waiting.Add(1)
	defer waiting.Add(-1)
	defer ctx.finish()
	n, err := h.file.ReadAt(ctx, p, off)
	if n == len(p) {
		return fuse.ReadResultVector([][]byte{p}), fuse.OK
	}
	return nil, h.readFailed(ctx, off, n, len(p), err)
}

func length(bufs [][]byte) (n int) {
	for _, b := range bufs {
		n += len(b)
	}
	return n
}

// readFailed chooses the errno of a read that did not get all of its bytes.
func (h *handle) readFailed(ctx *readContext, off int64, got, want int, err error) fuse.Status {
	switch cause := ctx.Err(); {
	case cause == nil:
	case errors.Is(cause, errInterrupted), errors.Is(cause, errReaderGone):
		return fuse.EINTR
	case errors.Is(cause, errUnseen):
		h.inode.bounceOnce(off, want, time.Now())
		return fuse.EAGAIN
	default:
		return fuse.Status(errClosed)
	}
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	level := h.fs.log.Warn
	if errors.Is(err, ErrUnavailable) {
		level = h.fs.log.Debug // as the user chose; the source logs why
	}
	level("read file", "path", h.fs.tree.path(h.id.index()), "offset", off, "got", got, "want", want, "err", err)
	return fuse.EIO
}
