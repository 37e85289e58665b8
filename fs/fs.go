package fs

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"time"
)

// ErrUnavailable means that the policy ended the wait for bytes: no reachable peer has them, or the
// time that the user allows is over. A [File] returns it wrapped; the reader gets EIO.
var ErrUnavailable = errors.New("data unavailable")

// ErrClosed is the cause of every read that ends because the file system is being unmounted.
var ErrClosed = errors.New("file system closed")

// Entry is one file or symbolic link of a [Source]. Directories are implied by the paths.
type Entry struct {
	// Path is relative to the mount's root, slash-separated, clean, and unique.
	Path string
	// Size is the length in bytes.
	Size int64
	// Executable adds the execute bits to the mode.
	Executable bool
	// Symlink is the target of a symbolic link; empty for a regular file.
	Symlink string
	// ModTime is shown as all times of the file. The zero time is shown as 1970.
	ModTime time.Time
}

// Source is what a mount shows. Its methods may be called from any goroutine.
type Source interface {
	// Name is shown in logs.
	Name() string
	// ID seeds the inode numbers: the same ID and path give the same inode number.
	ID() [20]byte
	// Entries is called once, by Mount, which keeps nothing of the slice.
	Entries() []Entry
	// Open makes a File for one handle. i indexes Entries.
	Open(i int) (File, error)
}

// CompletionSource is a [Source] that reports when a file has become complete, so that its next
// open can be passed through although the file is open already.
type CompletionSource interface {
	// OnComplete registers f, to be called with the index of each entry that becomes complete (and
	// written to disk) from now on; calls for entries that were complete before do no harm. f never
	// blocks and may be called from any goroutine, also after the mount has ended.
	OnComplete(f func(i int))
}

// File serves one open handle. Its methods may be called concurrently, but none after Close and
// Close only once.
type File interface {
	// ReadAt fills p from off, as [io.ReaderAt] does, and waits for bytes that are missing until
	// ctx ends. p is the caller's again when it returns. Mount never asks beyond the entry's size;
	// n < len(p) needs an error.
	ReadAt(ctx context.Context, p []byte, off int64) (n int, err error)
	Close() error
}

// MemoryFile is a [File] that may have bytes in memory. The slices are immutable from then on and
// together hold exactly n bytes. It never blocks.
type MemoryFile interface {
	Memory(off int64, n int) (bufs [][]byte, ok bool)
}

// BackedFile is a [File] that may be complete in one file of the operating system, byte for byte.
// The File's owner owns f and keeps it open, and its bytes in place, at least until the File is
// closed. It never blocks.
type BackedFile interface {
	Backing() (f *os.File, ok bool)
}

// ReadyFile is a [File] that can tell whether a read would have to wait. Reads are bounced only if
// the File is also a [Prefetcher]. It never blocks.
type ReadyFile interface {
	// Ready reports whether all of [off, off+n) could be read at once, from memory or from the
	// disk.
	Ready(off int64, n int) bool
}

// Prefetcher is a [File] that takes hints. It never blocks.
type Prefetcher interface {
	// WillNeed names a range that is probably read soon, to be fetched after what a read waits for.
	WillNeed(off int64, n int)
	// PrefetchUrgent names a bounced range of which a reader asks for the first page next, and then
	// for the others one by one. The reader is as fast as without the bounce only if all of the
	// range is requested from the start.
	PrefetchUrgent(off int64, n int)
}

// Bounce chooses a treatment for large reads that miss bytes: they can be failed, unseen by the
// application, so that the kernel asks again for the single page that is needed; see the package
// documentation.
type Bounce int

const (
	// BounceAuto bounces reads of handles that do not read in order. Reads in order are as fast as
	// without.
	BounceAuto Bounce = iota
	// BounceOn bounces reads of all handles. A reader in order then gets single pages, which costs
	// several times the processor time and up to half of the speed of a fast line.
	BounceOn
	// BounceOff lets every read wait for all of its bytes.
	BounceOff
)

// Owner is a user and a group by number.
type Owner struct{ UID, GID uint32 }

// Options tune a mount. The zero value is a sound default.
type Options struct {
	// Logger takes what the user should know; nil discards it.
	Logger *slog.Logger
	// AllowOther lets other users than the mounting one in. A plain user needs user_allow_other in
	// /etc/fuse.conf.
	AllowOther bool
	// Owner of all files; nil means the process's own.
	Owner *Owner
	// Umask takes bits from the modes 0644 and 0755.
	Umask os.FileMode
	// Bounce chooses the treatment of read-ahead that misses bytes.
	Bounce Bounce
	// DenyReaders are programs that may not open incomplete files; names as in
	// [DefaultDeniedReaders]. They get EACCES. To read a whole library to index it would download
	// all of it.
	DenyReaders []string
	// SetXattr lets setxattr(2) reach an [XattrSetter]. The kernel then shows the mount as
	// writable; all other writes still get EROFS.
	SetXattr bool
	// Backing is a directory on the disk that [BackedFile]s lie on, "" if that is not known: it
	// decides whether an overlayfs can be mounted above.
	Backing string
	// NoPassthrough keeps the kernel from reading complete files itself.
	NoPassthrough bool
	// FSName is shown as the device in mtab; empty means "torrentfs".
	FSName string
}

// cacheTimeout is for how long the kernel trusts names and attributes.
const cacheTimeout = time.Hour

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.FSName == "" {
		o.FSName = "torrentfs"
	}
	if o.Owner == nil {
		o.Owner = &Owner{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())}
	}
	return o
}

// Stats counts what a mount has served since it began.
type Stats struct {
	Reads            uint64 // READ requests that arrived; those of the kernel's own passthrough do not
	MemoryReads      uint64 // of these, answered from memory without a copy
	Bounced          uint64 // of these, failed so that the kernel asks for a single page
	Opens            uint64
	PassthroughOpens uint64 // of these, handed to the kernel
	Denied           uint64 // opens refused by DenyReaders
	Waiting          int64  // reads inside File.ReadAt now
}
