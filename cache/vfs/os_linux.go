package vfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxVector is the kernel's limit of buffers in one call (IOV_MAX).
const maxVector = 1024

func writeVectorAt(f *os.File, bufs [][]byte, off int64) (int, error) {
	total := 0
	for len(bufs) > 0 {
		var n int
		err := withFD(f, func(fd int) (err error) {
			n, err = unix.Pwritev(fd, bufs[:min(len(bufs), maxVector)], off)
			return err
		})
		if err != nil {
			return total, &fs.PathError{Op: "write", Path: f.Name(), Err: err}
		}
		written := n
		total += n
		off += int64(n)
		for len(bufs) > 0 && n >= len(bufs[0]) {
			n -= len(bufs[0])
			bufs = bufs[1:]
		}
		if len(bufs) > 0 && (n > 0 || written == 0) {
			// A short write: finish this buffer in a way that explains itself.
			m, err := f.WriteAt(bufs[0][n:], off)
			total += m
			if err != nil {
				return total, err
			}
			off += int64(m)
			bufs = bufs[1:]
		}
	}
	return total, nil
}

// readCached asks with RWF_NOWAIT, which some file systems do not know.
func readCached(f *os.File, p []byte, off int64) (total int) {
	_ = withFD(f, func(fd int) error {
		for total < len(p) {
			n, err := unix.Preadv2(fd, [][]byte{p[total:]}, off+int64(total), unix.RWF_NOWAIT)
			if err != nil || n <= 0 {
				return nil // the disk is to be asked
			}
			total += n
		}
		return nil
	})
	return total
}

const statxMask = unix.STATX_BASIC_STATS | unix.STATX_BTIME

// stat asks by statx(2), which knows when a file was born.
func stat(f *os.File) (info Info, err error) {
	err = withFD(f, func(fd int) error { info, err = statx(fd); return err })
	switch {
	case err == unix.ENOSYS, err == unix.EPERM: // an old system, or a filter of system calls
		fi, err := f.Stat()
		if err != nil {
			return Info{}, err
		}
		return infoOf(fi), nil
	case err != nil:
		return Info{}, &fs.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	return info, nil
}

func statx(fd int) (Info, error) {
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, statxMask, &st); err != nil {
		return Info{}, err
	}
	info := Info{
		Size: int64(st.Size), MTime: nanoseconds(st.Mtime), CTime: nanoseconds(st.Ctime),
		Dev: unix.Mkdev(st.Dev_major, st.Dev_minor), Ino: st.Ino, Gone: st.Nlink == 0, Mode: modeOf(st.Mode),
	}
	if st.Mask&unix.STATX_BTIME != 0 {
		info.BTime = nanoseconds(st.Btime)
	}
	return info, nil
}

func nanoseconds(t unix.StatxTimestamp) int64 { return t.Sec*1e9 + int64(t.Nsec) }

// modeOf knows what this package asks for: the kind of a file and its permissions.
func modeOf(m uint16) fs.FileMode {
	mode := fs.FileMode(m & 0o777)
	switch m & unix.S_IFMT {
	case unix.S_IFREG:
		return mode
	case unix.S_IFDIR:
		return mode | fs.ModeDir
	case unix.S_IFLNK:
		return mode | fs.ModeSymlink
	default:
		return mode | fs.ModeIrregular
	}
}

// lstat opens the name without the right to read or write, which no kind of
// file minds: statx(2) below a root would need the folder's descriptor. It is
// asked of each file of a torrent that is opened, so the kernel walks the path
// where it can (openat2(2), Linux 5.6); whatever that refuses but a name that is
// not there is for [os.Root] to judge.
func (o *osFS) lstat(name string) (info Info, err error) {
	err = withFD(o.self, func(dir int) error {
		fd, err := unix.Openat2(dir, name, &unix.OpenHow{
			Flags: unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS,
		})
		if err != nil {
			return err
		}
		defer unix.Close(fd) //nolint:errcheck // nothing was written
		info, err = statx(fd)
		return err
	})
	switch {
	case err == nil:
		return info, nil
	case errors.Is(err, unix.ENOENT):
		return Info{}, &fs.PathError{Op: "lstat", Path: name, Err: err}
	}
	f, err := o.root.OpenFile(name, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return Info{}, err
	}
	defer f.Close()
	return stat(f)
}

func otherTimes(st *syscall.Stat_t) (ctime, btime int64) { return st.Ctim.Nano(), 0 }

func syncFS(d *os.File) error {
	if err := withFD(d, unix.Syncfs); err != nil {
		return &fs.PathError{Op: "syncfs", Path: d.Name(), Err: err}
	}
	return nil
}

// probe reads with a descriptor of its own, past the page cache where the file
// system has such a thing (O_DIRECT).
func probe(f *os.File, off int64) error {
	const n = 4096 // a multiple of every disk's block
	err := withFD(f, func(fd int) error {
		direct, err := unix.Open("/proc/self/fd/"+strconv.Itoa(fd), unix.O_RDONLY|unix.O_DIRECT|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(direct)
		buf, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE) // aligned
		if err != nil {
			return err
		}
		defer unix.Munmap(buf) //nolint:errcheck // nothing could be done
		_, err = unix.Pread(direct, buf, off&^(n-1))
		return err
	})
	if err == unix.EIO {
		return &fs.PathError{Op: "read", Path: f.Name(), Err: err}
	}
	if err == nil {
		return nil
	}
	_, err = f.ReadAt(make([]byte, 1), off) // it has no such way
	return err
}

func punchHole(f *os.File, off, n int64) error {
	return withFD(f, func(fd int) error {
		return unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
	})
}

// nextData moves the descriptor's own offset, which nothing else here uses.
func nextData(f *os.File, off int64) (start, end int64, err error) {
	err = withFD(f, func(fd int) (err error) {
		if start, err = unix.Seek(fd, off, unix.SEEK_DATA); err != nil {
			return err
		}
		end, err = unix.Seek(fd, start, unix.SEEK_HOLE)
		return err
	})
	if errors.Is(err, unix.ENXIO) {
		err = io.EOF
	}
	return start, end, err
}

// copyRange has the kernel copy, or share, n bytes. It returns how many it did
// before an error or the end of src.
func copyRange(dst *os.File, to int64, src *os.File, from, n int64) (done int64, err error) {
	for done < n && err == nil {
		var k int
		err = withFD(dst, func(d int) error {
			return withFD(src, func(s int) (err error) {
				a, b := from+done, to+done
				k, err = unix.CopyFileRange(s, &a, d, &b, int(min(n-done, 1<<30)), 0)
				return err
			})
		})
		if err == nil && k <= 0 {
			return done, nil
		}
		done += int64(max(k, 0))
	}
	return done, err
}
