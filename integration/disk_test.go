//go:build linux

package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// smallDisk is a file system of so many bytes, that is gone after the test.
func smallDisk(t testing.TB, options string) string {
	t.Helper()
	needPrivateNetwork(t) // and with it, mounts of our own
	dir := mkdir(t, scratch(t), "disk")
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Fatal(os.NewSyscallError("mount", err))
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(os.NewSyscallError("umount", err))
		}
	})
	return dir
}

// complaints counts the lines that say that the disk fails.
func (m *mount) complaints() int { return strings.Count(m.stderr.text(), `"msg":"disk fails"`) }

// A disk that fills up in the middle of a download: the mount lives, every byte
// is right, one line says what is wrong, and once there is room all of it is
// written without a restart.
func TestDiskFullAndBack(t *testing.T) {
	t.Parallel()
	c := makeFile(t, 24<<20, 81).create(t)
	s := seed(t, c.torrent, c.dir, "--no-trackers")
	disk := smallDisk(t, "size=6m")
	m := mountAt(t, c.torrent, disk, mountpoint(t), "--no-trackers", "--no-prefetch", "--peer", s.peer())
	sameFile(t, c.root(), m.path(c.name)) // reads all of it
	m.logged("disk fails", nil)
	sameFile(t, c.root(), m.path(c.name))
	if n := m.complaints(); n != 1 {
		t.Errorf("%d lines say that the disk fails, want one", n)
	}
	if err := unix.Mount("tmpfs", disk, "tmpfs", unix.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(os.NewSyscallError("remount", err))
	}
	m.logged("disk works again", nil)
	m.complete()
	sameFile(t, c.root(), m.path(c.name))
	m.stop()
	sameFile(t, c.root(), filepath.Join(disk, c.name))
}

// A file that somebody cuts, removes, overwrites or replaces under the mount:
// what is read is right, and the file is made whole again.
func TestMeddledFiles(t *testing.T) {
	t.Parallel()
	for name, meddle := range map[string]func(file string) error{
		"cut":     func(file string) error { return os.Truncate(file, 100_000) },
		"removed": os.Remove,
		"overwritten": func(file string) error {
			f, err := os.OpenFile(file, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			defer f.Close() //nolint:errcheck // the write is what counts
			_, err = f.WriteAt(make([]byte, 1<<20), 1<<20)
			return err
		},
		"replaced": func(file string) error {
			if err := os.WriteFile(file+"~", make([]byte, 5<<20), 0o644); err != nil {
				return err
			}
			return os.Rename(file+"~", file)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := makeFile(t, 5<<20, 82).create(t)
			s := seed(t, c.torrent, c.dir, "--no-trackers")
			data := scratch(t)
			first := mountAt(t, c.torrent, data, mountpoint(t), "--no-trackers", "--peer", s.peer())
			first.complete()
			first.stop() // the next one has nothing in memory
			m := mountAt(t, c.torrent, data, mountpoint(t), "--no-trackers", "--peer", s.peer())
			m.complete()
			readRange(t, c.root(), m.path(c.name), 4<<20, 1000)
			if err := meddle(filepath.Join(data, c.name)); err != nil {
				t.Fatal(err)
			}
			if name == "overwritten" || name == "cut" {
				// An open file of which the kernel reads the copy on disk by itself
				// shows what is there; a new look must show what is right.
				tool("sync").run(t)
			}
			sameFile(t, c.root(), m.path(c.name))
			m.complete()
			m.stop()
			sameFile(t, c.root(), filepath.Join(data, c.name))
		})
	}
}
