//go:build darwin || freebsd

package main

import (
	"context"
	"errors"
	"log/slog"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// isOurMount reports whether a FUSE file system named torrentfs is mounted on dir.
func isOurMount(dir string) (bool, error) {
	n, err := unix.Getfsstat(nil, unix.MNT_NOWAIT)
	if err != nil {
		return false, err
	}
	table := make([]unix.Statfs_t, n)
	if n, err = unix.Getfsstat(table, unix.MNT_NOWAIT); err != nil {
		return false, err
	}
	for _, m := range table[:min(n, len(table))] {
		if unix.ByteSliceToString(m.Mntonname[:]) == dir {
			return strings.Contains(unix.ByteSliceToString(m.Mntfromname[:]), "torrentfs"), nil
		}
	}
	return false, nil
}

// foundMount is what is mounted on a directory.
type foundMount struct{ ours bool }

func findMount(dir string) (*foundMount, error) {
	ours, err := isOurMount(dir)
	return &foundMount{ours}, err
}

func (*foundMount) close() {}

func (*foundMount) end(context.Context, *slog.Logger) {} // the system does it

func (*foundMount) holders() string { return "" } // there are no mount namespaces

func (*foundMount) users(string) string { return "" } // fstat(1) can tell

// unmount takes a mount away.
func unmount(ctx context.Context, dir string, force bool) error {
	args := []string{dir}
	if force {
		args = []string{"-f", dir}
	}
	out, err := exec.CommandContext(ctx, "umount", args...).CombinedOutput()
	if text := strings.TrimSpace(string(out)); err != nil && text != "" {
		return errors.New(text)
	}
	return err
}
