package fs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// ErrMountpoint is wrapped by errors about the directory to mount on.
var ErrMountpoint = errors.New("unusable mount point")

// ErrNoFUSE is wrapped by errors that explain why this machine or this user cannot mount.
var ErrNoFUSE = errors.New("FUSE is not available")

const (
	// unmountLimit bounds Unmount as a whole.
	unmountLimit = time.Second
	// busyLimit is how long Unmount waits for readers, whose reads have just failed, to close their
	// files.
	busyLimit = 300 * time.Millisecond
	// closeLimit bounds the wait for a File that ignores its context.
	closeLimit = 250 * time.Millisecond
	// mountpointLimit bounds the look at the mount point, which may lie on a network that is gone.
	mountpointLimit = 15 * time.Second
)

var errHangs = errors.New("does not answer: a mount that hangs is in the way")

// Mounted is a mounted file system.
type Mounted struct {
	// immutable
	mountpoint string
	fs         *fileSystem
	device     uint64         // of the mount, as stat shows it
	helpers    sync.WaitGroup // goroutines that end with the mount
	ended      chan struct{}  // the kernel is through with us and all is closed
	ready      chan struct{}  // closed when device is known
	lost       chan struct{}  // closed when it is mounted nowhere, though it may still be in use

	unmountMu sync.Mutex
	detached  chan struct{} // closed when unmounted although files are still open
}

// Mount shows src at the directory mountpoint. The mount answers when it returns. What a crashed
// process has left on the mount point is removed first. ctx bounds the mounting only.
func Mount(ctx context.Context, mountpoint string, src Source, opt Options) (*Mounted, error) {
	opt = opt.withDefaults()
	mountpoint, err := CheckMountpoint(ctx, mountpoint, opt.Logger)
	if err != nil {
		return nil, err
	}
	warnNotEmpty(ctx, mountpoint, opt.Logger)
	f, err := newFileSystem(src, opt)
	if err != nil {
		return nil, fmt.Errorf("mount %s: build tree: %w", mountpoint, err)
	}
	server, err := startServer(f, mountpoint, opt)
	if err != nil {
		return nil, fmt.Errorf("mount %s: %w", mountpoint, err)
	}
	m := &Mounted{
		mountpoint: mountpoint,
		fs:         f,
		ended:      make(chan struct{}),
		ready:      make(chan struct{}),
		lost:       make(chan struct{}),
		detached:   make(chan struct{}),
	}
	go m.serve(server)
	if err := m.waitReady(ctx, server); err != nil {
		return nil, errors.Join(fmt.Errorf("mount %s: %w", mountpoint, err), m.Unmount(context.WithoutCancel(ctx)))
	}
	close(m.ready)
	m.tune(ctx)
	return m, nil
}

// serverOptions are the same for all ways to mount.
func serverOptions(f *fileSystem, opt Options) *fuse.MountOptions {
	return &fuse.MountOptions{
		FsName:               opt.FSName,
		Name:                 "torrentfs",
		AllowOther:           opt.AllowOther,
		MaxWrite:             1 << 20, // reads too: with a larger read_ahead_kb requests are up to 1 MiB
		MaxBackground:        65535,   // blocked read-ahead must never keep another file's from starting
		CongestionThreshold:  64,
		MaxStackDepth:        stackDepth(opt),
		EnableSymlinkCaching: true,
		DisableXAttrs:        f.xattr == nil,
		DisableSplice:        true, // every answer is a vector
		// The contents never change, so the kernel need not guess when they did.
		ExplicitDataCacheControl: true,
		Logger:                   slog.NewLogLogger(f.log.Handler(), slog.LevelDebug),
		PanicHandler: func(reason any) fuse.Status {
			f.log.Error("panic in file system", "reason", reason, "stack", string(debug.Stack()))
			return fuse.EIO
		},
	}
}

// access is the mount's read-write mode for the kernel, which passes setxattr on only to writable
// mounts.
func access(opt Options) string {
	if opt.SetXattr {
		return "rw"
	}
	return "ro"
}

// serve runs until the kernel is through with the mount.
func (m *Mounted) serve(server *fuse.Server) {
	stop := make(chan struct{})
	m.helpers.Go(func() { m.fs.runSwapper(stop) })
	m.helpers.Go(func() {
		select {
		case <-m.ready:
			if err := m.watchTable(stop); err != nil {
				m.fs.log.Warn("watch mount table", "err", err)
			}
		case <-stop:
		}
	})
	server.Serve()
	m.fs.close()
	m.fs.closeHandles(closeLimit)
	close(stop)
	m.helpers.Wait()
	close(m.ended)
}

// waitReady returns when the mount answers.
func (m *Mounted) waitReady(ctx context.Context, server *fuse.Server) error {
	device, err := bounded(ctx, func() (uint64, error) {
		if err := server.WaitMount(); err != nil {
			return 0, fmt.Errorf("wait for mount: %w", err)
		}
		var st syscall.Stat_t
		err := withOwnDescriptors(func() error {
			if err := quietPoll(m.mountpoint); err != nil {
				return err
			}
			if err := syscall.Stat(m.mountpoint, &st); err != nil {
				return fmt.Errorf("stat mount: %w", err)
			}
			return nil
		})
		return uint64(st.Dev), err
	})
	m.device = device
	return err
}

// tune finds out what this kernel lets us do.
func (m *Mounted) tune(ctx context.Context) {
	f := m.fs
	if !f.opt.NoPassthrough {
		err := f.probePassthrough()
		f.passthrough.Store(err == nil)
		if err != nil {
			f.log.Debug("no passthrough: complete files are read through this process", "err", err)
		} else if c, ok := f.src.(CompletionSource); ok {
			c.OnComplete(f.complete)
		}
	}
	if canBounce {
		err := f.probeBounce(ctx, m.mountpoint)
		f.refaults.Store(err == nil)
		if err != nil {
			f.log.Debug("read-ahead waits for all of its bytes", "err", err)
		}
	}
	warnTimeouts(f.log)
}

// Stats may be called at any time.
func (m *Mounted) Stats() Stats { return m.fs.stats() }

// CheckMountpoint makes sure that path is a directory to mount on, and removes what a crash has
// left there, as [Mount] does: it can be called before the long work that comes before a mount. It
// returns the absolute path without symbolic links: the kernel knows the mount by that, and
// unmounting follows none. Its errors wrap [ErrMountpoint].
func CheckMountpoint(ctx context.Context, path string, log *slog.Logger) (string, error) {
	if path == "" {
		return "", fmt.Errorf("mount: %w: its name is empty (name a directory)", ErrMountpoint)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("mount %s: %w", path, err)
	}
	resolved, err := checkMountpoint(ctx, abs, log)
	if err != nil {
		return "", fmt.Errorf("mount %s: %w", abs, err)
	}
	return resolved, nil
}

func checkMountpoint(ctx context.Context, path string, log *slog.Logger) (string, error) {
	const attempts = 4 // crashes may have stacked mounts
	ctx, cancel := context.WithTimeoutCause(ctx, mountpointLimit, errHangs)
	defer cancel()
	for try := 0; ; try++ {
		at, err := bounded(ctx, func() (place, error) { return lookAt(path) })
		switch {
		case err == nil && !at.isDir:
			return "", fmt.Errorf("%w: not a directory (name one to mount on)", ErrMountpoint)
		case err == nil:
			if err := mayMountOn(at.path); err != nil {
				return "", fmt.Errorf("%w: %w", ErrMountpoint, err)
			}
			return at.path, nil
		case errors.Is(err, os.ErrNotExist):
			return "", fmt.Errorf("%w: %w (create the directory first)", ErrMountpoint, bare(err))
		case errors.Is(err, os.ErrPermission):
			return "", fmt.Errorf("%w: %w (you may not enter a directory above it)", ErrMountpoint, bare(err))
		case !errors.Is(err, syscall.ENOTCONN) || try == attempts:
			return "", fmt.Errorf("%w: %w", ErrMountpoint, bare(err))
		}
		log.Warn("removing the stale mount of a process that is gone", "mountpoint", at.path)
		if err := unmountBounded(ctx, at.path, true); err != nil {
			return "", fmt.Errorf("%w: remove stale mount: %w", ErrMountpoint, err)
		}
	}
}

// bare leaves the path out of an error of the system: it is named beside it.
func bare(err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// place is what is at a mount point.
type place struct {
	path  string // without symbolic links, as far as they could be followed
	isDir bool
}

func lookAt(path string) (place, error) {
	at := place{path: path}
	if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		at.path = filepath.Join(dir, filepath.Base(path))
	}
	if err := reach(at.path); err != nil {
		return at, err
	}
	resolved, err := filepath.EvalSymlinks(at.path)
	if err != nil {
		return at, err
	}
	at.path = resolved
	info, err := os.Stat(resolved)
	if err == nil {
		at.isDir = info.IsDir()
	}
	return at, err
}

// warnNotEmpty logs that files will be hidden. The mount goes on: it is the user's directory.
func warnNotEmpty(ctx context.Context, path string, log *slog.Logger) {
	names, _ := bounded(ctx, func() ([]string, error) {
		dir, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer dir.Close()
		return dir.Readdirnames(1)
	})
	if len(names) > 0 {
		log.Warn("mount point is not empty: its files are hidden while it is mounted", "mountpoint", path)
	}
}
