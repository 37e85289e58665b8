//go:build !linux

package fs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

const canBounce = false // tried on Linux only

// startServer mounts with the system's own helper.
func startServer(f *fileSystem, mountpoint string, opt Options) (*fuse.Server, error) {
	options := serverOptions(f, opt)
	options.Options = mountOptions(opt)
	server, err := fuse.NewServer(f, mountpoint, options)
	if err != nil {
		return nil, fmt.Errorf("%w: %w; %s", ErrNoFUSE, err, installHint)
	}
	return server, nil
}

func unmount(_ context.Context, path string, lazy bool) error {
	flags := 0
	if lazy {
		flags = unix.MNT_FORCE
	}
	return os.NewSyscallError("unmount", unix.Unmount(path, flags))
}

// reach asks the server of the mount at path; a plain stat may be answered from memory.
func reach(path string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return &os.PathError{Op: "statfs", Path: path, Err: err}
	}
	return nil
}

func abortLater(uint64) (abort func()) { return func() {} }

// pointsOf asks the path: there is no table to read.
func pointsOf(path string, device uint64) ([]string, error) {
	var st syscall.Stat_t
	err := syscall.Stat(path, &st)
	if err == nil && uint64(st.Dev) == device || errors.Is(err, syscall.ENOTCONN) {
		return []string{path}, nil
	}
	return nil, nil
}

func (m *Mounted) watchTable(<-chan struct{}) error { return nil } // the kernel tells nothing here

func quietPoll(string) error { return nil } // go-fuse does that here

func warnTimeouts(*slog.Logger) {}
