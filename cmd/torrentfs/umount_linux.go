package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"torrentfs/cmd/torrentfs/internal/ui"
	"torrentfs/fs/mounttable"
)

// fsType is how our mounts appear in the mount table.
const fsType = "fuse.torrentfs"

// isOurMount reports whether the mount in sight on dir is one of ours.
func isOurMount(dir string) (bool, error) {
	mounts, err := mounttable.Own()
	m, ok := mounttable.At(mounts, dir)
	return ok && m.Type == fsType, err
}

// foundMount is what is mounted on a directory.
type foundMount struct {
	ours       bool
	device     string
	elsewhere  []mounttable.Process   // that have a mount of ours on this directory, where we have none
	connection *mounttable.Connection // nil where it cannot be seen
}

// findMount looks at what is in sight on dir. The caller closes it if it is ours.
func findMount(dir string) (*foundMount, error) {
	mounts, err := mounttable.Own()
	if err != nil {
		return nil, err
	}
	at, ok := mounttable.At(mounts, dir)
	if !ok || at.Type != fsType {
		return &foundMount{elsewhere: mounttable.OtherNamespaces(func(others []mounttable.Mount) bool {
			m, ok := mounttable.At(others, dir)
			return ok && m.Type == fsType
		})}, nil
	}
	m := &foundMount{ours: true, device: at.Device}
	m.connection, _ = mounttable.OpenConnection(at.Device) // it may not be there to see
	return m, nil
}

func (m *foundMount) close() {
	if m.connection != nil {
		m.connection.Close()
	}
}

// serverPatience is how long the program that serves a detached mount has to end it by itself.
const serverPatience = 3 * time.Second

// end waits until nobody uses the detached mount any more: its server notices and fails all reads. One that hangs is
// cut off.
func (m *foundMount) end(ctx context.Context, log *slog.Logger) {
	if m.connection == nil {
		return
	}
	for deadline := time.Now().Add(serverPatience); !m.connection.Gone(); {
		if time.Now().After(deadline) || ctx.Err() != nil {
			if err := m.connection.Abort(); err != nil {
				log.Warn("end reads of mount", "err", err)
			}
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// holders names a process of each other mount namespace that has the mount.
func (m *foundMount) holders() string {
	if !m.ours {
		return processList(m.elsewhere)
	}
	return processList(mounttable.OtherNamespaces(func(others []mounttable.Mount) bool {
		return mounttable.Has(others, m.device)
	}))
}

// users names the processes that have something open on the mount.
func (m *foundMount) users(dir string) string { return processList(mounttable.Users(dir)) }

// maxListed is how many processes are named; of more there is the number.
const maxListed = 5

func processList(all []mounttable.Process) string {
	var names []string
	for _, p := range all[:min(len(all), maxListed)] {
		names = append(names, fmt.Sprintf("%d (%s)", p.PID, ui.Printable(p.Name)))
	}
	if more := len(all) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return strings.Join(slices.Clip(names), ", ")
}

// unmount takes a mount away: by the system call as root, through fusermount3
// otherwise.
func unmount(ctx context.Context, dir string, lazy bool) error {
	if os.Geteuid() == 0 {
		flags := unix.UMOUNT_NOFOLLOW
		if lazy {
			flags |= unix.MNT_DETACH
		}
		return unix.Unmount(dir, flags)
	}
	args := []string{"-u"}
	if lazy {
		args = append(args, "-z")
	}
	out, err := exec.CommandContext(ctx, "fusermount3", append(args, "--", dir)...).CombinedOutput()
	if text := strings.TrimSpace(string(out)); err != nil && text != "" {
		return errors.New(strings.TrimPrefix(text, "fusermount3: "))
	}
	return err
}
