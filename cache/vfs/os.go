package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// Open opens the directory dir of the operating system as a [FS] and creates
// it (and its parents) if it is missing.
func Open(dir string) (FS, error) {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
		// The entry of a new directory has to outlive a power cut as well.
		if parent, err := os.Open(filepath.Dir(filepath.Clean(dir))); err == nil {
			_ = parent.Sync() // best effort: it may belong to somebody else
			_ = parent.Close()
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	self, err := root.Open(".")
	if err != nil {
		_ = root.Close()
		return nil, err
	}
	return &osFS{root: root, self: self}, nil
}

type osFS struct {
	root *os.Root
	self *os.File // open from the start: a sync reports only errors since then
}

func (o *osFS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	// O_NONBLOCK: a FIFO that somebody left there must not block us.
	f, err := o.root.OpenFile(name, flag|unix.O_NONBLOCK, perm)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: name, Err: errors.New("not a regular file")}
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return &osFile{f: f}, nil
}

func (o *osFS) Lstat(name string) (Info, error) { return o.lstat(name) }

func (o *osFS) Mkdir(name string, perm fs.FileMode) error { return o.root.Mkdir(name, perm) }
func (o *osFS) Symlink(target, name string) error         { return o.root.Symlink(target, name) }
func (o *osFS) Rename(from, to string) error              { return o.root.Rename(from, to) }
func (o *osFS) Remove(name string) error                  { return o.root.Remove(name) }

func (o *osFS) IsEmpty(name string) (bool, error) {
	d, err := o.root.Open(name)
	if err != nil {
		return false, err
	}
	defer d.Close()
	_, err = d.Readdirnames(1)
	if errors.Is(err, io.EOF) {
		return true, nil
	}
	return false, err
}

func (o *osFS) Close() error { return errors.Join(o.self.Close(), o.root.Close()) }

func (o *osFS) SyncDir(name string) error {
	d, err := o.root.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func (o *osFS) SyncAll() error { return syncFS(o.self) }

func (o *osFS) Lock(name string) (io.Closer, error) {
	f, err := o.root.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	err = withFD(f, func(fd int) error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) })
	if err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrLocked
		}
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	return f, nil
}

type osFile struct {
	f *os.File
	watched
}

func (o *osFile) ReadAt(p []byte, off int64) (int, error)  { return o.f.ReadAt(p, off) }
func (o *osFile) WriteAt(p []byte, off int64) (int, error) { return o.f.WriteAt(p, off) }
func (o *osFile) Truncate(size int64) error                { return o.f.Truncate(size) }
func (o *osFile) OS() *os.File                             { return o.f }
func (o *osFile) Stat() (Info, error)                      { return stat(o.f) }
func (o *osFile) Sync() error                              { return o.f.Sync() }
func (o *osFile) Probe(off int64) error                    { return probe(o.f, off) }
func (o *osFile) ReadCached(p []byte, off int64) int       { return readCached(o.f, p, off) }
func (o *osFile) PunchHole(off, n int64) error             { return punchHole(o.f, off, n) }

func (o *osFile) NextData(off int64) (int64, int64, error) {
	start, end, err := nextData(o.f, off)
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, unix.EINVAL) {
		st, err := o.f.Stat()
		switch {
		case err != nil:
			return 0, 0, err
		case off >= st.Size():
			return 0, 0, io.EOF
		}
		return off, st.Size(), nil
	}
	return start, end, err
}

func (o *osFile) WriteVectorAt(bufs [][]byte, off int64) (int, error) {
	if len(bufs) == 1 {
		return o.f.WriteAt(bufs[0], off)
	}
	return writeVectorAt(o.f, bufs, off)
}

func infoOf(st fs.FileInfo) Info {
	i := Info{Size: st.Size(), MTime: st.ModTime().UnixNano(), Mode: st.Mode()}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		i.Dev, i.Ino = uint64(sys.Dev), uint64(sys.Ino) //nolint:unconvert // their types differ by system
		i.Gone = sys.Nlink == 0
		i.CTime, i.BTime = otherTimes(sys)
	}
	return i
}

// withFD runs fn on f's descriptor, which stays open meanwhile.
func withFD(f *os.File, fn func(fd int) error) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var ferr error
	if err := c.Control(func(fd uintptr) { ferr = retryEINTR(func() error { return fn(int(fd)) }) }); err != nil {
		return err
	}
	return ferr
}

func retryEINTR(fn func() error) error {
	for {
		if err := fn(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
