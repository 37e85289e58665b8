package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

type umountCmd struct {
	Mountpoint string `arg:"" help:"Directory that a torrent is mounted on." complete:"dir"`
	Force      bool   `short:"f" aliases:"lazy" help:"Take it away although files are open; their readers get errors."`
}

// Help is the text below the summary.
func (umountCmd) Help() string {
	return `The program that serves the mount writes what it holds to disk and ends by itself.

Without -f a mount in use stays: close what has files open there, or leave its directories. With -f it
disappears from the tree at once, reads that wait there fail, and the program ends. It also removes what a
killed process left behind ("Transport endpoint is not connected"). Only mounts of torrentfs are touched.

A container or service with a mount namespace of its own may hold a copy of the mount. It is of no use any
more when the program ends; the processes that have one are named.`
}

// Run takes the mount away.
func (o *umountCmd) Run(ctx context.Context, a *app) error {
	if o.Mountpoint == "" {
		return fail(exitMount, "name the directory that the torrent is mounted on", "unmount: the name of the mount point is empty")
	}
	dir, err := mountpointPath(o.Mountpoint)
	if err != nil {
		return fail(exitMount, "see the list that mount(8) prints", "unmount %s: %w", o.Mountpoint, bareError(err))
	}
	m, err := findMount(dir)
	switch {
	case err != nil:
		return fail(exitMount, "", "unmount %s: %w", dir, err)
	case !m.ours:
		return fail(exitMount, notMountedHint(m), "unmount %s: no torrent is mounted there", dir)
	}
	defer m.close()
	if err := o.unmount(ctx, dir); err != nil {
		hint := ""
		if !o.Force {
			hint = "if files are open there, close them or use -f"
			if users := m.users(dir); isBusy(err) && users != "" {
				hint = "it is used by " + users + ": end them, or use -f"
			}
		}
		return fail(exitMount, hint, "unmount %s: %w", dir, err)
	}
	if o.Force {
		m.end(ctx, a.log)
	}
	if holders := m.holders(); holders != "" {
		a.log.Warn("other mount namespaces have a copy of the mount, which is of no use any more",
			"mountpoint", dir, "processes", holders)
	}
	a.log.Debug("unmounted", "mountpoint", dir)
	return nil
}

func notMountedHint(m *foundMount) string {
	if holders := m.holders(); holders != "" {
		return "it is mounted in the mount namespace of " + holders + " only: unmount it there"
	}
	return "see the list that mount(8) prints"
}

// busyPatience is how long a busy mount is asked again: the kernel still holds
// a file for a moment after its reader has closed it.
const busyPatience = time.Second

func (o *umountCmd) unmount(ctx context.Context, dir string) error {
	for deadline := time.Now().Add(busyPatience); ; {
		err := unmount(ctx, dir, o.Force)
		if !isBusy(err) || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// isBusy also knows what fusermount3 and umount print.
func isBusy(err error) bool {
	return errors.Is(err, syscall.EBUSY) || (err != nil && strings.Contains(err.Error(), "busy"))
}

// mountpointPath resolves a mount point without touching the mount itself,
// which may be dead or hang: only its parent is looked at.
func mountpointPath(name string) (string, error) {
	abs, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	parent, err := filepath.EvalSymlinks(filepath.Dir(abs))
	if err != nil {
		return "", err
	}
	dir := filepath.Join(parent, filepath.Base(abs))
	if ours, err := isOurMount(dir); err == nil && ours {
		return dir, nil
	}
	if target, err := os.Readlink(dir); err == nil {
		if !filepath.IsAbs(target) {
			target = filepath.Join(parent, target)
		}
		return target, nil
	}
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	return dir, nil
}
