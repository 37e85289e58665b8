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
disappears from the tree at once. It also removes what a killed process left behind ("Transport endpoint is
not connected"). Only mounts of torrentfs are touched.`
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
	switch ours, err := isOurMount(dir); {
	case err != nil:
		return fail(exitMount, "", "unmount %s: %w", dir, err)
	case !ours:
		return fail(exitMount, "see the list that mount(8) prints", "unmount %s: no torrent is mounted there", dir)
	}
	if err := o.unmount(ctx, dir); err != nil {
		hint := ""
		if !o.Force {
			hint = "if files are open there, close them or use -f"
		}
		return fail(exitMount, hint, "unmount %s: %w", dir, err)
	}
	a.log.Debug("unmounted", "mountpoint", dir)
	return nil
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
// which may be dead: only its parent is looked at.
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
