//go:build linux

package disk

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"torrentfs/integration/harness"
)

// smallDisk is a file system of so many bytes, that is gone after the test.
func smallDisk(t testing.TB, options string) string {
	t.Helper()
	harness.NeedPrivateNetwork(t) // and with it, mounts of our own
	dir := harness.Mkdir(t, harness.Scratch(t), "disk")
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

// A disk that fills up in the middle of a download: the mount lives, every byte
// is right, one line says what is wrong, and once there is room all of it is
// written without a restart.
func TestDiskFullAndBack(t *testing.T) {
	t.Parallel()
	c := harness.MakeFile(t, 24<<20, 81).Create(t)
	s := harness.Seed(t, c.Torrent, c.Dir, "--no-trackers")
	disk := smallDisk(t, "size=6m")
	m := harness.MountAt(t, c.Torrent, disk, harness.Mountpoint(t), "--no-trackers", "--no-prefetch", "--peer", s.Peer())
	harness.SameFile(t, c.Root(), m.Path(c.Name)) // reads all of it
	m.Logged("disk fails", nil)
	harness.SameFile(t, c.Root(), m.Path(c.Name))
	if n := m.Complaints(); n != 1 {
		t.Errorf("%d lines say that the disk fails, want one", n)
	}
	if err := unix.Mount("tmpfs", disk, "tmpfs", unix.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(os.NewSyscallError("remount", err))
	}
	m.Logged("disk works again", nil)
	m.Complete()
	harness.SameFile(t, c.Root(), m.Path(c.Name))
	m.Stop()
	harness.SameFile(t, c.Root(), filepath.Join(disk, c.Name))
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
			c := harness.MakeFile(t, 5<<20, 82).Create(t)
			s := harness.Seed(t, c.Torrent, c.Dir, "--no-trackers")
			data := harness.Scratch(t)
			first := harness.MountAt(t, c.Torrent, data, harness.Mountpoint(t), "--no-trackers", "--peer", s.Peer())
			first.Complete()
			first.Stop() // the next one has nothing in memory
			m := harness.MountAt(t, c.Torrent, data, harness.Mountpoint(t), "--no-trackers", "--peer", s.Peer())
			m.Complete()
			harness.ReadRange(t, c.Root(), m.Path(c.Name), 4<<20, 1000)
			if err := meddle(filepath.Join(data, c.Name)); err != nil {
				t.Fatal(err)
			}
			if name == "overwritten" || name == "cut" {
				// An open file of which the kernel reads the copy on disk by itself
				// shows what is there; a new look must show what is right.
				harness.Tool("sync").Run(t)
			}
			harness.SameFile(t, c.Root(), m.Path(c.Name))
			m.Complete()
			m.Stop()
			harness.SameFile(t, c.Root(), filepath.Join(data, c.Name))
		})
	}
}
