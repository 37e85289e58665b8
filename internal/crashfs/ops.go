package crashfs

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"

	"torrentfs/cache/vfs"
)

var _ vfs.FS = (*FS)(nil)

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// OpenFile implements [vfs.FS].
func (f *FS) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d, base, err := f.parent("open", name)
	if err != nil {
		return nil, err
	}
	n := d.names[base]
	kind := "open"
	if n == nil && flag&os.O_CREATE != 0 {
		kind = "create"
	}
	if err := f.step(kind, name); err != nil {
		return nil, pathError("open", name, err)
	}
	switch {
	case n == nil && kind == "open":
		return nil, pathError("open", name, fs.ErrNotExist)
	case n == nil:
		n = f.newNode(perm.Perm())
		d.names[base] = n
	case flag&(os.O_CREATE|os.O_EXCL) == os.O_CREATE|os.O_EXCL:
		return nil, pathError("open", name, fs.ErrExist)
	case !n.mode.IsRegular():
		return nil, pathError("open", name, errors.New("not a regular file"))
	}
	if flag&os.O_TRUNC != 0 {
		n.truncate(0)
	}
	return &file{fs: f, n: n, name: name, writable: flag&(os.O_WRONLY|os.O_RDWR) != 0}, nil
}

// Lstat implements [vfs.FS].
func (f *FS) Lstat(name string) (vfs.Info, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.walk("lstat", name)
	if err != nil {
		return vfs.Info{}, err
	}
	return n.info(), nil
}

func (n *node) info() vfs.Info {
	return vfs.Info{
		Size: n.data.size, MTime: n.data.mtime, CTime: n.data.ctime, BTime: n.born,
		Dev: 1, Ino: n.ino, Gone: n.gone, Mode: n.mode,
	}
}

// SetMTime sets the date of a file's content as utimes(2) does, which tells of
// itself in the other date. It is not counted as an operation.
func (f *FS) SetMTime(name string, mtime int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.walk("utimes", name)
	if err != nil {
		return err
	}
	n.data.mtime = mtime
	n.touched()
	return nil
}

// IsEmpty implements [vfs.FS].
func (f *FS) IsEmpty(name string) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.walk("readdir", name)
	if err == nil && !n.mode.IsDir() {
		err = pathError("readdir", name, errNotDir)
	}
	return err == nil && len(n.names) == 0, err
}

// Mkdir implements [vfs.FS].
func (f *FS) Mkdir(name string, perm fs.FileMode) error {
	return f.make("mkdir", name, func() *node { return f.newNode(fs.ModeDir | perm.Perm()) })
}

// Symlink implements [vfs.FS].
func (f *FS) Symlink(target, name string) error {
	return f.make("symlink", name, func() *node {
		n := f.newNode(fs.ModeSymlink | 0o777)
		n.target = target
		return n
	})
}

func (f *FS) make(op, name string, node func() *node) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	d, base, err := f.parent(op, name)
	if err != nil {
		return err
	}
	if err := f.step(op, name); err != nil {
		return pathError(op, name, err)
	}
	if d.names[base] != nil {
		return pathError(op, name, fs.ErrExist)
	}
	d.names[base] = node()
	return nil
}

// Rename implements [vfs.FS].
func (f *FS) Rename(from, to string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	src, a, err := f.parent("rename", from)
	if err != nil {
		return err
	}
	dst, b, err := f.parent("rename", to)
	if err != nil {
		return err
	}
	if err := f.step("rename", to); err != nil {
		return pathError("rename", to, err)
	}
	if src.names[a] == nil {
		return pathError("rename", from, fs.ErrNotExist)
	}
	if old := dst.names[b]; old != nil {
		old.gone = true
	}
	dst.names[b] = src.names[a]
	dst.names[b].touched()
	delete(src.names, a)
	return nil
}

// Remove implements [vfs.FS].
func (f *FS) Remove(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	d, base, err := f.parent("remove", name)
	if err != nil {
		return err
	}
	if err := f.step("remove", name); err != nil {
		return pathError("remove", name, err)
	}
	if d.names[base] == nil {
		return pathError("remove", name, fs.ErrNotExist)
	}
	d.names[base].gone = true
	delete(d.names, base)
	return nil
}

// SyncDir implements [vfs.FS].
func (f *FS) SyncDir(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.walk("syncdir", name)
	if err != nil {
		return err
	}
	if err := f.step("syncdir", name); err != nil {
		return pathError("syncdir", name, err)
	}
	n.syncedNames = maps.Clone(n.names)
	return nil
}

// SyncAll implements [vfs.FS].
func (f *FS) SyncAll() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.step("syncall", "."); err != nil {
		if !errors.Is(err, ErrCut) {
			f.root.loseAll(f.loss)
		}
		return pathError("syncall", ".", err)
	}
	f.root.syncAll()
	return nil
}

func (n *node) syncAll() {
	n.sync()
	for _, m := range n.names {
		m.syncAll()
	}
}

func (n *node) sync() {
	switch {
	case n.mode.IsDir():
		n.syncedNames = maps.Clone(n.names)
	case n.mode.IsRegular():
		n.synced = n.surviving(func() bool { return true })
		clear(n.dirty)
	}
}

func (n *node) loseAll(l Loss) {
	n.lose(l)
	for _, m := range n.names {
		m.loseAll(l)
	}
}

// lose does to a file what a failed sync does. Its size stays.
func (n *node) lose(l Loss) {
	if l == KeepsDirty || !n.mode.IsRegular() {
		return
	}
	for i := range n.dirty {
		if l == CallsClean {
			continue
		}
		if s := n.synced.sectors[i]; s != nil && i*sector < n.data.size {
			n.data.sectors[i] = s
		} else {
			delete(n.data.sectors, i)
		}
	}
	clear(n.dirty)
}

// Space implements [vfs.FS]: there is always enough.
func (f *FS) Space() (vfs.Space, error) { return vfs.Space{Total: 1 << 50, Free: 1 << 50}, nil }

// Usage implements [vfs.FS].
func (f *FS) Usage(name string) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.walk("usage", name)
	if err != nil {
		return 0, err
	}
	return int64(len(n.data.sectors)) * sector, nil
}

// Lock implements [vfs.FS].
func (f *FS) Lock(name string) (io.Closer, error) {
	h, err := f.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.locks[name] {
		h.(*file).closed = true
		return nil, fmt.Errorf("lock %s: %w", name, vfs.ErrLocked)
	}
	f.locks[name] = true
	return &lock{h, f, name}, nil
}

type lock struct {
	vfs.File
	fs   *FS
	name string
}

func (l *lock) Close() error {
	l.fs.mu.Lock()
	defer l.fs.mu.Unlock()
	delete(l.fs.locks, l.name)
	return nil
}

// Close implements [vfs.FS]; the disk can still be used.
func (f *FS) Close() error { return nil }
