package fs

import (
	"strings"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// xattrPrefix is before all names that we have. Whatever else is asked for (security labels and ACLs, with every ls -l)
// is answered without asking the source.
const xattrPrefix = "user.torrent."

// xattrIndex translates a node to the index by which XattrSource knows it.
func (f *fileSystem) xattrIndex(id uint64) (int, bool) {
	i, n := f.node(id)
	switch {
	case n == nil:
		return 0, false
	case i == 0:
		return Root, true
	case n.kind == kindDir:
		return 0, false
	}
	return int(n.first), true
}

func (f *fileSystem) GetXAttr(_ <-chan struct{}, header *fuse.InHeader, name string, dest []byte) (uint32, fuse.Status) {
	i, ok := f.xattrIndex(header.NodeId)
	if !ok || f.xattr == nil || !strings.HasPrefix(name, xattrPrefix) {
		return 0, fuse.ENOATTR
	}
	value, ok := f.xattr.GetXattr(i, name)
	if !ok {
		return 0, fuse.ENOATTR
	}
	return putXattr(dest, value)
}

func (f *fileSystem) ListXAttr(_ <-chan struct{}, header *fuse.InHeader, dest []byte) (uint32, fuse.Status) {
	i, ok := f.xattrIndex(header.NodeId)
	if !ok || f.xattr == nil {
		return 0, fuse.OK
	}
	var list []byte
	for _, name := range f.xattr.ListXattr(i) {
		if strings.HasPrefix(name, xattrPrefix) && strings.IndexByte(name, 0) < 0 {
			list = append(append(list, name...), 0)
		}
	}
	return putXattr(dest, list)
}

// putXattr answers with the size alone where the caller left no room at all.
func putXattr(dest, value []byte) (uint32, fuse.Status) {
	if len(dest) < len(value) {
		return uint32(len(value)), fuse.ERANGE
	}
	return uint32(copy(dest, value)), fuse.OK
}
