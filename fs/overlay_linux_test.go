package fs_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// An overlayfs can be mounted above a mount whose data lies on an ordinary disk, passthrough and
// all: its files can be read, and changed in the upper layer.
func TestOverlayAboveAsRoot(t *testing.T) {
	needRoot(t)
	disk := t.TempDir()
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, ""); err != nil {
		t.Skip("no tmpfs can be mounted here:", err)
	}
	defer unix.Unmount(disk, unix.MNT_DETACH) //nolint:errcheck // the test has ended
	overlay := func(lower string) error {
		return unix.Mount("overlay", disk+"/all", "overlay", 0, "lowerdir="+lower+",upperdir="+disk+"/up,workdir="+disk+"/work")
	}
	for _, name := range []string{"low", "up", "work", "all", "data"} {
		if err := os.Mkdir(filepath.Join(disk, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := overlay(disk + "/low"); err != nil {
		t.Skip("no overlayfs here:", err)
	}
	must(t, "umount", func() error { return unix.Unmount(disk+"/all", 0) })
	s := startServer(t, serverConfig{Data: filepath.Join(disk, "data"), Files: []fileConfig{
		{Path: "complete", Size: 300_000, Complete: true},
		{Path: "d/served", Size: 300_000},
	}})
	must(t, "mount overlay", func() error { return overlay(s.dir) })
	defer unix.Unmount(disk+"/all", unix.MNT_DETACH) //nolint:errcheck // only if the test failed
	for i, name := range []string{"complete", "d/served"} {
		name := filepath.Join(disk, "all", name)
		must(t, "read and append to "+name, func() error {
			got, err := os.ReadFile(name)
			if err := errors.Join(err, checkBytes(got, uint64(i+1), 0)); err != nil {
				return err
			}
			f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteString("more")
			if err := errors.Join(err, f.Close()); err != nil {
				return err
			}
			if got, err = os.ReadFile(name); err != nil || len(got) != 300_004 || string(got[300_000:]) != "more" {
				t.Errorf("%s: %d bytes after appending four, %v", name, len(got), err)
			}
			return checkBytes(got[:300_000], uint64(i+1), 0)
		})
	}
	must(t, "umount", func() error { return unix.Unmount(disk+"/all", 0) })
	before := s.stats()
	must(t, "read complete file", func() error { _, err := os.ReadFile(s.path("complete")); return err })
	if got := s.stats().PassthroughOpens - before.PassthroughOpens; got != 1 {
		t.Errorf("%d opens were passed through, want 1", got)
	}
	if err := os.RemoveAll(disk + "/data"); err != nil {
		t.Error(err)
	}
	s.stop()
}
