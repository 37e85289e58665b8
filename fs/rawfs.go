package fs

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// fileSystem answers the kernel's requests. It speaks go-fuse's raw protocol rather than its tree
// of inodes: our tree is immutable and complete, so an inode costs nothing until it is opened and
// nothing has to be remembered or forgotten.
type fileSystem struct {
	fuse.RawFileSystem // ENOSYS for what is not defined here

	// immutable after newFileSystem
	src   Source
	xattr XattrSource // nil if the source has none
	opt   Options
	log   *slog.Logger
	tree  *tree

	// set before the first request is served, see Init
	server      *fuse.Server
	noOpendir   bool
	passthrough atomic.Bool // the kernel has accepted a backing file

	closing   chan struct{}
	closeOnce sync.Once

	handles  handleTable
	inodes   inodeTable
	swap     swapper
	deny     denials
	probe    atomic.Pointer[probeFile] // set while the mount is being tried
	refaults atomic.Bool               // the kernel was seen to ask again for a failed read-ahead

	counters struct {
		reads, memory, bounced, opens, passthrough, denied atomic.Uint64
		waiting                                            atomic.Int64
	}
}

var _ fuse.RawFileSystem = (*fileSystem)(nil)

func newFileSystem(src Source, opt Options) (*fileSystem, error) {
	t, err := newTree(src.ID(), src.Entries())
	if err != nil {
		return nil, err
	}
	f := &fileSystem{
		RawFileSystem: fuse.NewDefaultRawFileSystem(),
		src:           src,
		opt:           opt,
		log:           opt.Logger.With("mount", src.Name()),
		tree:          t,
		closing:       make(chan struct{}),
	}
	f.xattr, _ = src.(XattrSource)
	f.inodes.init()
	f.deny.init(opt.DenyReaders)
	f.swap.init(len(t.nodes))
	return f, nil
}

func (f *fileSystem) String() string { return "torrentfs" }

// Init runs once, before the first request is served.
func (f *fileSystem) Init(s *fuse.Server) {
	f.server = s
	f.noOpendir = noOpendir(s.KernelSettings())
}

// close makes every read fail, those in flight and those to come.
func (f *fileSystem) close() { f.closeOnce.Do(func() { close(f.closing) }) }

func (f *fileSystem) isClosing() bool {
	select {
	case <-f.closing:
		return true
	default:
		return false
	}
}

// node returns the node that the kernel names, or nil if there is none.
func (f *fileSystem) node(id uint64) (nodeIndex, *node) {
	i := nodeID(id).index()
	if uint64(i) != id>>1 || int(i) >= len(f.tree.nodes) {
		return 0, nil
	}
	return i, f.tree.node(i)
}

func (f *fileSystem) Lookup(_ <-chan struct{}, header *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	if p := f.probe.Load(); p != nil && header.NodeId == fuse.FUSE_ROOT_ID && name == p.name {
		p.lookup(out)
		return fuse.OK
	}
	_, dir := f.node(header.NodeId)
	if dir == nil {
		return fuse.Status(syscall.ESTALE)
	}
	if len(name) > maxNameLen {
		return fuse.Status(syscall.ENAMETOOLONG)
	}
	i, ok := f.tree.lookup(dir, name)
	if !ok {
		f.negative(out)
		return fuse.OK
	}
	f.entryOut(i, out)
	return fuse.OK
}

func (f *fileSystem) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	if in.NodeId == probeNodeID {
		probeAttributes(&out.Attr)
		return fuse.OK
	}
	_, n := f.node(in.NodeId)
	if n == nil {
		return fuse.Status(syscall.ESTALE)
	}
	f.attributes(n, &out.Attr)
	out.SetTimeout(cacheTimeout)
	return fuse.OK
}

func (f *fileSystem) Readlink(_ <-chan struct{}, header *fuse.InHeader) ([]byte, fuse.Status) {
	_, n := f.node(header.NodeId)
	if n == nil || n.kind != kindLink {
		return nil, fuse.EINVAL
	}
	return f.tree.target(n), fuse.OK
}

// Access is asked by kernels that do not check permissions themselves.
func (f *fileSystem) Access(_ <-chan struct{}, in *fuse.AccessIn) fuse.Status {
	if in.Mask&2 != 0 {
		return fuse.EROFS
	}
	return fuse.OK
}

// StatFs shows a file system as large as the torrent, and full.
func (f *fileSystem) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	const block = 4096
	out.Bsize, out.Frsize = block, block
	out.Blocks = (uint64(f.tree.total) + block - 1) / block
	out.Files = uint64(len(f.tree.nodes))
	out.NameLen = maxNameLen
	return fuse.OK
}

// OpenDir keeps no state: the offset is enough. Kernels that can are told never to ask again, and
// then cache directories.
func (f *fileSystem) OpenDir(_ <-chan struct{}, _ *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if f.noOpendir {
		return fuse.ENOSYS
	}
	out.OpenFlags = fuse.FOPEN_CACHE_DIR | fuse.FOPEN_KEEP_CACHE
	return fuse.OK
}

func (f *fileSystem) ReleaseDir(*fuse.ReleaseIn) {}

func (f *fileSystem) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return f.readDir(in, func(e fuse.DirEntry, _ nodeIndex) bool { return out.AddDirEntry(e) })
}

func (f *fileSystem) ReadDirPlus(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return f.readDir(in, func(e fuse.DirEntry, i nodeIndex) bool {
		entry := out.AddDirLookupEntry(e)
		if entry != nil && e.Off > 2 { // the kernel takes no inode for "." and ".."
			f.entryOut(i, entry)
		}
		return entry != nil
	})
}

// readDir emits the entries from an offset on: 0 is ".", 1 is "..", 2 the first child.
func (f *fileSystem) readDir(in *fuse.ReadIn, emit func(fuse.DirEntry, nodeIndex) bool) fuse.Status {
	_, dir := f.node(in.NodeId)
	if dir == nil || dir.kind != kindDir {
		return fuse.ENOTDIR
	}
	first, count := f.tree.children(dir)
	for off := in.Offset; off < uint64(count)+2; off++ {
		e := fuse.DirEntry{Mode: fuse.S_IFDIR, Off: off + 1}
		var child nodeIndex
		switch off {
		case 0:
			e.Name, e.Ino = ".", dir.ino
		case 1:
			e.Name, e.Ino = "..", f.tree.node(dir.parent).ino
		default:
			child = first + nodeIndex(off-2)
			n := f.tree.node(child)
			e.Name, e.Ino, e.Mode = f.tree.name(n), n.ino, typeBits(n.kind)
		}
		if !emit(e, child) {
			break
		}
	}
	return fuse.OK
}

// Lseek is left to the kernel, which takes a file for one piece of data up to its end. Holes are
// never shown: cp and tar would write zeros.
func (f *fileSystem) Lseek(<-chan struct{}, *fuse.LseekIn, *fuse.LseekOut) fuse.Status {
	return fuse.ENOSYS
}

func (f *fileSystem) stats() Stats {
	c := &f.counters
	return Stats{
		Reads:            c.reads.Load(),
		MemoryReads:      c.memory.Load(),
		Bounced:          c.bounced.Load(),
		Opens:            c.opens.Load(),
		PassthroughOpens: c.passthrough.Load(),
		Denied:           c.denied.Load(),
		Waiting:          c.waiting.Load(),
	}
}
