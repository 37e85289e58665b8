package vfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
)

// ErrLocked is returned (wrapped) by [FS.Lock] when somebody else holds the lock.
var ErrLocked = errors.New("locked by another process")

// Info is what a file system says of one name. Times are in nanoseconds since
// 1970, and 0 where the system has no such time.
type Info struct {
	Size  int64
	MTime int64 // of the content; any program can set it
	CTime int64 // of the last change of content, names or attributes; the system alone sets it
	BTime int64 // of the file's birth
	Dev   uint64
	Ino   uint64
	Gone  bool // no name leads to it any more
	Mode  fs.FileMode
}

// FileID tells two files apart for as long as both exist and the file system
// is mounted: device numbers may be others after a restart of the system.
type FileID struct{ Dev, Ino uint64 }

// ID is the identity of a file: two names with one ID are one file. It is the
// zero FileID where the system has no such thing.
func (i Info) ID() FileID {
	if i.Ino == 0 {
		return FileID{}
	}
	return FileID{i.Dev, i.Ino}
}

// FS is a directory tree. All methods may be called from any goroutine.
// Missing names are reported as [fs.ErrNotExist], existing ones as
// [fs.ErrExist], both possibly wrapped.
type FS interface {
	// OpenFile opens a regular file with flags of package os; anything else
	// than a regular file is refused without blocking.
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	// Lstat does not follow a link in the last element.
	Lstat(name string) (Info, error)
	Mkdir(name string, perm fs.FileMode) error
	// IsEmpty reports whether a directory has no entries.
	IsEmpty(name string) (bool, error)
	Symlink(target, name string) error
	Rename(from, to string) error
	Remove(name string) error
	// SyncDir makes the entries of the directory durable ("." is the root).
	SyncDir(name string) error
	// SyncAll makes all data and entries durable in one call, or returns
	// [errors.ErrUnsupported] where the system has no such call.
	SyncAll() error
	// Space is the state of the whole file system now.
	Space() (Space, error)
	// Usage is how many bytes of it a file takes, which holes do not count to.
	Usage(name string) (int64, error)
	// Lock takes an exclusive advisory lock, creating the file if needed, and
	// holds it until the closer is closed or the process ends. It never waits.
	Lock(name string) (io.Closer, error)
	Close() error
}

// File is an open regular file. All methods may be called from any goroutine.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// ReadCached reads what the system has in memory and returns how much of p,
	// from its beginning, that was: it never waits for the disk.
	ReadCached(p []byte, off int64) int
	// WriteVectorAt writes bufs one after the other at off, in as few calls
	// of the system as it takes. It does not keep or change bufs.
	WriteVectorAt(bufs [][]byte, off int64) (int, error)
	// Sync makes the data durable, with all that Stat says of it.
	Sync() error
	Truncate(size int64) error
	Stat() (Info, error)
	// NextData returns the first range at or after off that is not a hole;
	// io.EOF if there is none. Where the system cannot tell holes from data
	// all is data.
	NextData(off int64) (start, end int64, err error)
	// PunchHole gives a range back to the system; it then reads as zeros.
	PunchHole(off, n int64) error
	// Probe reads a little at about off, from the disk itself where the system
	// has a way past its cache, and only says whether that works.
	Probe(off int64) error
	// Witness tells of changes of the file by other programs, nil where the
	// system does not say who changed it.
	Witness() Witness
	// OS is the file of the operating system, nil if there is none.
	OS() *os.File
}

// Witness tells of changes of a file by other programs: writes, cuts, and
// descriptors for writing that were closed; not of what is written to a mapping
// of it before that. It begins with the first call of [File.Witness], and ends
// with the file. Its methods may be called from any goroutine.
type Witness interface {
	// Changes is another number after each change. It never waits.
	Changes() uint64
}
