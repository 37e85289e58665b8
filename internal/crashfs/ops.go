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
	"time"

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
	return vfs.Info{Size: n.data.size, MTime: n.data.mtime, Ino: n.ino, Gone: n.gone, Mode: n.mode}
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

type file struct {
	fs       *FS
	n        *node
	name     string
	writable bool
	closed   bool
}

// begin checks a call; on success mu is held.
func (h *file) begin(op string, write bool) error {
	h.fs.mu.Lock()
	err := error(nil)
	switch {
	case h.closed:
		err = fs.ErrClosed
	case write && !h.writable:
		err = fs.ErrPermission
	default:
		err = h.fs.step(op, h.name)
	}
	if err != nil {
		h.fs.mu.Unlock()
		return pathError(op, h.name, err)
	}
	return nil
}

func (h *file) ReadAt(p []byte, off int64) (int, error) {
	if err := h.begin("read", false); err != nil {
		return 0, err
	}
	defer h.fs.mu.Unlock()
	c := h.n.data
	n := int(max(min(int64(len(p)), c.size-off), 0))
	for done := 0; done < n; {
		i, at := (off+int64(done))/sector, (off+int64(done))%sector
		m := min(n-done, int(sector-at))
		if s := c.sectors[i]; s != nil {
			copy(p[done:done+m], s[at:])
		} else {
			clear(p[done : done+m])
		}
		done += m
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (h *file) WriteAt(p []byte, off int64) (int, error) {
	if err := h.begin("write", true); err != nil {
		return 0, err
	}
	defer h.fs.mu.Unlock()
	err := error(nil)
	if h.fs.cut >= 0 && h.fs.ops >= h.fs.cut { // the last one: a part of it
		p, err = p[:h.fs.rng.IntN(len(p)+1)], pathError("write", h.name, ErrCut)
	}
	h.n.write(p, off)
	return len(p), err
}

func (n *node) write(p []byte, off int64) {
	for done := 0; done < len(p); {
		i, at := (off+int64(done))/sector, (off+int64(done))%sector
		s := new([sector]byte)
		if old := n.data.sectors[i]; old != nil {
			*s = *old
		}
		done += copy(s[at:], p[done:])
		n.data.sectors[i] = s
		n.dirty[i] = true
	}
	n.data.size = max(n.data.size, off+int64(len(p)))
	n.data.mtime = time.Now().UnixNano()
}

func (h *file) WriteVectorAt(bufs [][]byte, off int64) (int, error) {
	return h.WriteAt(slices.Concat(bufs...), off)
}

func (h *file) Probe(int64) error {
	if err := h.begin("read", false); err != nil {
		return err
	}
	h.fs.mu.Unlock()
	return nil
}

func (h *file) Sync() error {
	if err := h.begin("sync", false); err != nil {
		h.fs.mu.Lock()
		defer h.fs.mu.Unlock()
		if !h.closed && !errors.Is(err, ErrCut) {
			h.n.lose(h.fs.loss)
		}
		return err
	}
	defer h.fs.mu.Unlock()
	h.n.sync()
	return nil
}

func (h *file) Truncate(size int64) error {
	if err := h.begin("truncate", true); err != nil {
		return err
	}
	defer h.fs.mu.Unlock()
	h.n.truncate(size)
	return nil
}

func (n *node) truncate(size int64) {
	for i := range n.data.sectors {
		if i*sector >= size {
			delete(n.data.sectors, i)
			n.dirty[i] = true
		}
	}
	if rest := size % sector; rest != 0 && n.data.sectors[size/sector] != nil {
		s := *n.data.sectors[size/sector]
		clear(s[rest:])
		n.data.sectors[size/sector] = &s
		n.dirty[size/sector] = true
	}
	n.data.size = size
	n.data.mtime = time.Now().UnixNano()
}

func (h *file) PunchHole(off, size int64) error {
	if err := h.begin("punch", true); err != nil {
		return err
	}
	defer h.fs.mu.Unlock()
	end := min(off+size, h.n.data.size)
	for o := off; o < end; {
		i, at := o/sector, o%sector
		m := min(sector-at, end-o)
		if s := h.n.data.sectors[i]; s != nil {
			if m == sector || o+m == h.n.data.size && at == 0 {
				delete(h.n.data.sectors, i)
			} else {
				c := *s
				clear(c[at : at+m])
				h.n.data.sectors[i] = &c
			}
			h.n.dirty[i] = true
		}
		o += m
	}
	h.n.data.mtime = time.Now().UnixNano()
	return nil
}

func (h *file) NextData(off int64) (start, end int64, err error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	c := h.n.data
	for start = off; start < c.size; start = (start/sector + 1) * sector {
		if c.sectors[start/sector] == nil {
			continue
		}
		for end = start; end < c.size && c.sectors[end/sector] != nil; {
			end = (end/sector + 1) * sector
		}
		return start, min(end, c.size), nil
	}
	return 0, 0, io.EOF
}

func (h *file) Stat() (vfs.Info, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	return h.n.info(), nil
}

func (h *file) Close() error {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if h.closed {
		return pathError("close", h.name, fs.ErrClosed)
	}
	h.closed = true
	return nil
}

func (h *file) OS() *os.File { return nil }

// ReadCached implements [vfs.File]: all is on the disk.
func (h *file) ReadCached([]byte, int64) int { return 0 }
