package fs

import (
	"os"
	"sync"
	"sync/atomic"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// The kernel takes all handles of one of its inodes either cached (it sends READs) or passed
// through (it reads the backing file itself), and fails an open that mixes the two. So
//
//   - an open is passed through if the file is complete and no cached handle of the inode is open;
//   - while passed handles are open all opens are passed through, to the same backing id, as long
//     as the file is the one that the kernel was given: after another program changed it, lookups
//     name the second inode, and the open fails with ESTALE, upon which the kernel looks the name
//     up again and opens what it finds;
//   - a file that completes while cached handles are open gets a second inode: lookups name that
//     one from then on, and the kernel is told to look the name up again. Both have the same inode
//     number.

// inode is the state of one of the kernel's inodes while it has open handles.
type inode struct {
	refs int // guarded by the table's lock

	mu      sync.Mutex
	cached  int   // open handles that are served by READs
	passed  int   // open handles that the kernel serves
	backing int32 // the kernel's id of the backing file while passed > 0
	bounced bounceMemory
}

type inodeTable struct {
	mu   sync.Mutex
	open map[nodeID]*inode
}

func (t *inodeTable) init() { t.open = make(map[nodeID]*inode) }

func (t *inodeTable) acquire(id nodeID) *inode {
	t.mu.Lock()
	defer t.mu.Unlock()
	in := t.open[id]
	if in == nil {
		in = new(inode)
		t.open[id] = in
	}
	in.refs++
	return in
}

func (t *inodeTable) release(id nodeID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	in := t.open[id]
	if in.refs--; in.refs == 0 {
		delete(t.open, id)
	}
}

// hasCached reports whether handles are open that are served by READs.
func (t *inodeTable) hasCached(id nodeID) bool {
	t.mu.Lock()
	in := t.open[id]
	t.mu.Unlock()
	if in == nil {
		return false
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.cached > 0
}

// ids lists the inodes with open handles.
func (t *inodeTable) ids() []nodeID {
	t.mu.Lock()
	defer t.mu.Unlock()
	ids := make([]nodeID, 0, len(t.open))
	for id := range t.open {
		ids = append(ids, id)
	}
	return ids
}

// admit decides how the kernel serves a new handle. It is false if that cannot be on this inode any
// more; then the handle is not open.
func (f *fileSystem) admit(h *handle, out *fuse.OpenOut) bool {
	backing, complete := f.backingOf(h.file)
	in, refused := h.inode, false
	in.mu.Lock()
	switch {
	case in.passed > 0 && !complete: // the kernel must be given no more handles of that file
		in.mu.Unlock()
		f.swap.leave(h.id)
		return false
	case in.passed > 0:
		h.passed = true
	case in.cached == 0 && complete:
		in.backing, h.passed = f.registerBacking(h, backing)
		refused = !h.passed
	}
	if h.passed {
		in.passed++
		out.BackingID = in.backing
	} else {
		in.cached++
	}
	in.mu.Unlock()

	if h.passed {
		// FLUSH means nothing to a handle that has no READs.
		out.OpenFlags = fuse.FOPEN_PASSTHROUGH | fuse.FOPEN_NOFLUSH
		f.counters.passthrough.Add(1)
		return true
	}
	out.OpenFlags = fuse.FOPEN_KEEP_CACHE
	if refused {
		return true
	}
	if !complete {
		// It may have completed since we asked: that report did not see this handle yet.
		_, complete = f.backingOf(h.file)
	}
	if complete {
		f.swap.request(h.id.index())
	}
	return true
}

// dismiss forgets a handle.
func (f *fileSystem) dismiss(h *handle) {
	in := h.inode
	in.mu.Lock()
	if !h.passed {
		in.cached--
	} else if in.passed--; in.passed == 0 {
		f.unregisterBacking(in.backing)
	}
	in.mu.Unlock()
	f.inodes.release(h.id)
}

func (f *fileSystem) backingOf(file File) (*os.File, bool) {
	if !f.passthrough.Load() {
		return nil, false
	}
	b, ok := file.(BackedFile)
	if !ok {
		return nil, false
	}
	return b.Backing()
}

// idOf returns which of a node's two inodes lookups name now.
func (f *fileSystem) idOf(i nodeIndex) nodeID { return makeNodeID(i, f.swap.swapped(i)) }

// complete is what a CompletionSource calls. An inode with cached handles needs a second one;
// others are passed through at their next open.
func (f *fileSystem) complete(entry int) {
	if entry < 0 || !f.passthrough.Load() || f.isClosing() {
		return
	}
	for _, id := range f.inodes.ids() {
		n := f.tree.node(id.index())
		if n.kind != kindDir && int(n.first) == entry {
			f.swap.request(id.index())
		}
	}
}

// swapper moves names from one inode of a node to the other. The kernel may wait for an answer of
// ours while it takes a notification, so this has a goroutine of its own and holds no lock
// meanwhile.
type swapper struct {
	second []atomic.Uint32 // a bit per node: lookups name its second inode

	mu      sync.Mutex
	pending map[nodeIndex]struct{}
	wake    chan struct{}
}

func (s *swapper) init(nodes int) {
	s.second = make([]atomic.Uint32, (nodes+31)/32)
	s.pending = make(map[nodeIndex]struct{})
	s.wake = make(chan struct{}, 1)
}

func (s *swapper) swapped(i nodeIndex) bool {
	return s.second[i/32].Load()&(1<<(i%32)) != 0
}

func (s *swapper) toggle(i nodeIndex) {
	for {
		old := s.second[i/32].Load()
		if s.second[i/32].CompareAndSwap(old, old^(1<<(i%32))) {
			return
		}
	}
}

// leave makes lookups name the other inode, if they name this one.
func (s *swapper) leave(id nodeID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := id.index(); makeNodeID(i, s.swapped(i)) == id {
		s.toggle(i)
	}
}

func (s *swapper) request(i nodeIndex) {
	s.mu.Lock()
	s.pending[i] = struct{}{}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *swapper) take() map[nodeIndex]struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := s.pending
	s.pending = make(map[nodeIndex]struct{})
	return taken
}

// runSwapper serves requests until done ends.
func (f *fileSystem) runSwapper(done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		case <-f.swap.wake:
		}
		for i := range f.swap.take() {
			f.swapInode(i)
		}
	}
}

// swapInode gives a node its other inode if that helps. It always makes the kernel look up the name
// again, which may have missed an earlier notification while a lookup was on its way.
func (f *fileSystem) swapInode(i nodeIndex) {
	id := f.idOf(i)
	if f.inodes.hasCached(id) {
		if f.inodes.hasCached(id.twin()) {
			return // neither can be passed through before a handle is closed
		}
		f.swap.toggle(i)
	}
	n := f.tree.node(i)
	status := f.server.EntryNotify(uint64(f.idOf(n.parent)), f.tree.name(n))
	f.log.Debug("completed while open", "path", f.tree.path(i), "notify", status)
}
