package fs

import (
	"errors"
	"iter"
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

const (
	// xattrPrefix begins all names that a source has. Other names are answered without asking it.
	xattrPrefix = "user.torrent."
	// xattrAll is an attribute that holds all others, a line for each.
	xattrAll = "user.torrent"
)

// noXattr is the answer for a name that nothing here has. Security labels and ACLs are asked for
// with every file of an ls -l. Told that there are none, it asks again for the next file; told that
// this file system has no such thing, it asks no more.
func noXattr(name string) fuse.Status {
	for _, family := range []string{"security.", "system.", "trusted."} {
		if strings.HasPrefix(name, family) {
			return fuse.Status(syscall.ENOTSUP)
		}
	}
	return fuse.ENOATTR
}

// ErrXattrValue is wrapped by errors about values that an attribute cannot have; the caller gets
// EINVAL.
var ErrXattrValue = errors.New("unusable attribute value")

// Object is what an extended attribute belongs to.
type Object struct {
	// Entry indexes Entries. Of a directory it is -1.
	Entry int
	// Root is set for the root directory of the mount.
	Root bool
	// Below goes through the entries below a directory, at any depth and in no order; of a file or
	// a link it is the entry itself.
	Below iter.Seq[int]
}

// XattrSource is a [Source] with extended attributes. Only names that begin with "user.torrent."
// are asked for.
type XattrSource interface {
	// ListXattr returns the names of the attributes. They are not listed by listxattr(2), because
	// programs that copy files would store them on the copies: programs ask for one by name, or for
	// all by "user.torrent".
	ListXattr(o Object) []string
	// GetXattr returns the value of one attribute; ok is false if there is none of that name.
	GetXattr(o Object, name string) (value []byte, ok bool)
}

// XattrSetter is an [XattrSource] some of whose attributes can be changed, if [Options.SetXattr] is
// set.
type XattrSetter interface {
	// SetXattr changes an attribute, or resets it to the default if value is nil. The caller gets
	// EINVAL for [ErrXattrValue], EPERM for any other error.
	SetXattr(o Object, name string, value []byte) error
}

// object finds what a node is to a source.
func (f *fileSystem) object(id uint64) (Object, bool) {
	i, n := f.node(id)
	switch {
	case n == nil:
		return Object{}, false
	case n.kind == kindDir:
		return Object{Entry: -1, Root: i == 0, Below: func(yield func(int) bool) { f.tree.below(n, yield) }}, true
	}
	entry := int(n.first)
	return Object{Entry: entry, Below: func(yield func(int) bool) { yield(entry) }}, true
}

// below yields the entries below a directory until yield is false.
func (t *tree) below(dir *node, yield func(entry int) bool) bool {
	first, count := t.children(dir)
	for i := range count {
		n := t.node(first + nodeIndex(i))
		if n.kind == kindDir {
			if !t.below(n, yield) {
				return false
			}
		} else if !yield(int(n.first)) {
			return false
		}
	}
	return true
}

func (f *fileSystem) GetXAttr(_ <-chan struct{}, header *fuse.InHeader, name string, dest []byte) (uint32, fuse.Status) {
	if f.xattr == nil || name != xattrAll && !strings.HasPrefix(name, xattrPrefix) {
		return 0, noXattr(name)
	}
	o, ok := f.object(header.NodeId)
	if !ok {
		return 0, fuse.ENOATTR
	}
	if name == xattrAll {
		return putXattr(dest, f.allXattrs(o))
	}
	value, ok := f.xattr.GetXattr(o, name)
	if !ok {
		return 0, fuse.ENOATTR
	}
	return putXattr(dest, value)
}

// allXattrs writes a line "name=value" for each attribute, the name without its prefix.
func (f *fileSystem) allXattrs(o Object) (all []byte) {
	for _, name := range f.xattr.ListXattr(o) {
		short, ours := strings.CutPrefix(name, xattrPrefix)
		value, ok := f.xattr.GetXattr(o, name)
		if ours && ok {
			all = append(append(append(append(all, short...), '='), value...), '\n')
		}
	}
	return all
}

// ListXAttr shows none, see [XattrSource].
func (f *fileSystem) ListXAttr(<-chan struct{}, *fuse.InHeader, []byte) (uint32, fuse.Status) {
	return 0, fuse.OK
}

// putXattr answers with the size alone if the caller left no room at all.
func putXattr(dest, value []byte) (uint32, fuse.Status) {
	if len(dest) < len(value) {
		return uint32(len(value)), fuse.ERANGE
	}
	return uint32(copy(dest, value)), fuse.OK
}

// SetXAttr arrives only if the mount is writable for the kernel, by [Options.SetXattr] or by a
// remount.
func (f *fileSystem) SetXAttr(_ <-chan struct{}, in *fuse.SetXAttrIn, name string, value []byte) fuse.Status {
	const create = 1 // XATTR_CREATE
	if in.Flags&create != 0 && strings.HasPrefix(name, xattrPrefix) {
		return fuse.Status(syscall.EEXIST) // those that can be set are always there
	}
	if value == nil {
		value = []byte{}
	}
	return f.setXattr(in.NodeId, name, value)
}

func (f *fileSystem) RemoveXAttr(_ <-chan struct{}, header *fuse.InHeader, name string) fuse.Status {
	return f.setXattr(header.NodeId, name, nil)
}

func (f *fileSystem) setXattr(id uint64, name string, value []byte) fuse.Status {
	setter, ok := f.src.(XattrSetter)
	if !ok || !f.opt.SetXattr || !strings.HasPrefix(name, xattrPrefix) {
		return fuse.EROFS
	}
	o, ok := f.object(id)
	if !ok {
		return fuse.Status(syscall.ESTALE)
	}
	switch err := setter.SetXattr(o, name, value); {
	case err == nil:
		return fuse.OK
	case errors.Is(err, ErrXattrValue):
		return fuse.EINVAL
	}
	return fuse.EPERM
}
