package fs

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// inodeNumbers derives inode numbers from the source and the path, so that they survive a remount:
// backup programs and NFS clients know files by them. A cryptographic hash, because the paths are a
// stranger's: two files of one number would pass for hard links.
type inodeNumbers struct{ buf []byte }

func newInodeNumbers(id [20]byte) *inodeNumbers { return &inodeNumbers{buf: id[:]} }

func (n *inodeNumbers) of(path string) uint64 {
	n.buf = append(n.buf[:20], path...)
	sum := sha256.Sum256(n.buf)
	// 63 bits, for programs that hold inode numbers in a signed integer.
	ino := binary.LittleEndian.Uint64(sum[:]) >> 1
	if ino <= fuse.FUSE_ROOT_ID {
		ino += fuse.FUSE_ROOT_ID + 1
	}
	return ino
}

// nodeID is how the kernel names an inode. Each node has two: a file that completes while it is
// open needs a second kernel inode for passthrough, for one kernel inode is either cached or passed
// through (see passthrough.go). The root is always 1.
type nodeID uint64

func makeNodeID(i nodeIndex, second bool) nodeID {
	id := nodeID(i)<<1 | 1
	if second && i != 0 {
		id = nodeID(i) << 1
	}
	return id
}

func (id nodeID) index() nodeIndex { return nodeIndex(id >> 1) }
func (id nodeID) twin() nodeID     { return id ^ 1 }

// attributes fills in what stat shows. It shows the finished file even if parts are missing:
// programs that find fewer blocks than bytes, or a hole, write zeros instead of reading.
func (f *fileSystem) attributes(n *node, out *fuse.Attr) {
	out.Ino = n.ino
	out.Mtime, out.Mtimensec = uint64(n.mtime), n.nsec
	out.Atime, out.Atimensec = out.Mtime, out.Mtimensec
	out.Ctime, out.Ctimensec = out.Mtime, out.Mtimensec
	out.Owner = fuse.Owner{Uid: f.opt.Owner.UID, Gid: f.opt.Owner.GID}
	out.Nlink = 1
	umask := uint32(f.opt.Umask.Perm())
	// Write bits, although writes are refused: a copy takes them over, and its owner must be able
	// to delete it.
	switch n.kind {
	case kindDir:
		out.Mode = fuse.S_IFDIR | 0o755&^umask
		out.Nlink = 2 + uint32(n.size)
		return
	case kindLink:
		out.Mode = fuse.S_IFLNK | 0o777
	case kindExec:
		out.Mode = fuse.S_IFREG | 0o755&^umask
	case kindFile:
		out.Mode = fuse.S_IFREG | 0o644&^umask
	}
	out.Size = uint64(n.size)
	if n.kind != kindLink {
		out.Blocks = (out.Size + 511) / 512
	}
}

func typeBits(k kind) uint32 {
	switch k {
	case kindDir:
		return fuse.S_IFDIR
	case kindLink:
		return fuse.S_IFLNK
	}
	return fuse.S_IFREG
}

// entryOut answers a lookup.
func (f *fileSystem) entryOut(i nodeIndex, out *fuse.EntryOut) {
	out.NodeId = uint64(f.idOf(i))
	out.Generation = 1
	f.attributes(f.tree.node(i), &out.Attr)
	out.SetEntryTimeout(cacheTimeout)
	out.SetAttrTimeout(cacheTimeout)
}

// negative answers a lookup of a name that does not exist, and never will while this is mounted.
func (f *fileSystem) negative(out *fuse.EntryOut) {
	*out = fuse.EntryOut{}
	out.SetEntryTimeout(min(cacheTimeout, time.Minute))
}
