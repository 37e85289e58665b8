package fs

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// handle is one open file.
type handle struct {
	// immutable
	fs     *fileSystem
	file   File
	id     nodeID
	size   int64
	inode  *inode
	memory MemoryFile // nil if file is none; so are the next two
	ready  ReadyFile
	hints  Prefetcher
	passed bool // handed to the kernel
	media  mediaHint

	mu       sync.Mutex
	reads    int           // in flight
	closed   bool          // no further read begins
	drained  chan struct{} // closed when closed and no read is in flight
	finished bool          // file is closed
	flushed  chan struct{} // closed and replaced by each FLUSH
	history  history
}

func newHandle(f *fileSystem, id nodeID, n *node, file File, in *inode) *handle {
	h := &handle{
		fs: f, file: file, id: id, size: n.size, inode: in,
		drained: make(chan struct{}),
		flushed: make(chan struct{}),
	}
	h.memory, _ = file.(MemoryFile)
	h.ready, _ = file.(ReadyFile)
	h.hints, _ = file.(Prefetcher)
	return h
}

// begin counts a read in; false means that the handle is closed. The channel ends with the next
// FLUSH.
func (h *handle) begin() (flushed <-chan struct{}, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, false
	}
	h.reads++
	return h.flushed, true
}

func (h *handle) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reads--
	if h.closed && h.reads == 0 {
		close(h.drained)
	}
}

// flush ends the waits of read-ahead. A descriptor was closed: in cached mode that is the only sign
// that a reader is gone, because its RELEASE comes only after its last READ is answered. Other
// readers that share the handle ask again.
func (h *handle) flush() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.reads > 0 {
		close(h.flushed)
		h.flushed = make(chan struct{})
	}
}

// close closes the file after the last read. It may be called again; the first call that sees the
// reads end closes.
func (h *handle) close(ctx context.Context) error {
	h.mu.Lock()
	if !h.closed {
		h.closed = true
		if h.reads == 0 {
			close(h.drained)
		}
	}
	h.mu.Unlock()
	select {
	case <-h.drained:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	h.mu.Lock()
	first := !h.finished
	h.finished = true
	h.mu.Unlock()
	if first {
		return h.file.Close()
	}
	return nil
}

// handleTable gives open files the numbers by which the kernel names them.
type handleTable struct {
	mu   sync.RWMutex
	open map[uint64]*handle
	next uint64
}

func (t *handleTable) add(h *handle) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open == nil {
		t.open = make(map[uint64]*handle)
	}
	t.next++
	t.open[t.next] = h
	return t.next
}

func (t *handleTable) get(fh uint64) *handle {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.open[fh]
}

func (t *handleTable) remove(fh uint64) *handle {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.open[fh]
	delete(t.open, fh)
	return h
}

func (t *handleTable) removeAll() []*handle {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []*handle
	for _, h := range t.open {
		all = append(all, h)
	}
	clear(t.open)
	return all
}

// Open opens a file in the mode that its inode allows now, see passthrough.go.
func (f *fileSystem) Open(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if in.Flags&syscall.O_ACCMODE != syscall.O_RDONLY || in.Flags&syscall.O_TRUNC != 0 {
		return fuse.EROFS
	}
	if in.NodeId == probeNodeID {
		return f.openProbe(out)
	}
	i, n := f.node(in.NodeId)
	switch {
	case n == nil:
		return fuse.Status(syscall.ESTALE)
	case n.kind == kindDir:
		return fuse.EISDIR
	case n.kind == kindLink:
		return fuse.Status(syscall.ELOOP)
	case f.isClosing():
		return fuse.EIO
	}
	file, err := f.src.Open(int(n.first))
	if err != nil {
		f.log.Warn("open file", "path", f.tree.path(i), "err", err)
		return openStatus(err)
	}
	if f.denied(in.Pid, i, n, file) {
		if err := file.Close(); err != nil {
			f.log.Warn("close file", "path", f.tree.path(i), "err", err)
		}
		return fuse.EACCES
	}
	id := nodeID(in.NodeId)
	h := newHandle(f, id, n, file, f.inodes.acquire(id))
	if !f.admit(h, out) {
		if err := h.close(context.Background()); err != nil {
			f.log.Warn("close file", "path", f.tree.path(i), "err", err)
		}
		f.inodes.release(id)
		return fuse.Status(syscall.ESTALE)
	}
	f.counters.opens.Add(1)
	out.Fh = f.handles.add(h)
	return fuse.OK
}

func openStatus(err error) fuse.Status {
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM} {
		if errors.Is(err, errno) {
			return fuse.Status(errno)
		}
	}
	return fuse.EIO
}

func (f *fileSystem) Flush(_ <-chan struct{}, in *fuse.FlushIn) fuse.Status {
	if h := f.handles.get(in.Fh); h != nil {
		h.flush()
	}
	return fuse.OK
}

func (f *fileSystem) Release(_ <-chan struct{}, in *fuse.ReleaseIn) {
	h := f.handles.remove(in.Fh)
	if h == nil {
		return // closed already, by the end of the mount
	}
	f.retire(context.Background(), h)
}

// retire closes a handle that is no longer in the table.
func (f *fileSystem) retire(ctx context.Context, h *handle) {
	if err := h.close(ctx); err != nil {
		f.log.Warn("close file", "path", f.tree.path(h.id.index()), "err", err)
	}
	f.dismiss(h)
}

// closeHandles closes what the kernel has not released. All reads have been told to fail.
func (f *fileSystem) closeHandles(grace time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	for _, h := range f.handles.removeAll() {
		f.retire(ctx, h)
	}
}
