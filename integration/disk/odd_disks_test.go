//go:build linux

package disk

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"torrentfs/integration/harness"
)

// oddDisk makes a file system with a program and mounts it with another; it is
// gone after the test.
func oddDisk(t testing.TB, mkfs, mount []string) string {
	t.Helper()
	dir := harness.Scratch(t)
	image, at := filepath.Join(dir, "image"), harness.Mkdir(t, dir, "disk")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 64<<20); err != nil {
		t.Fatal(err)
	}
	harness.Tool(mkfs[0], append(mkfs[1:], image)...).Run(t)
	harness.Tool(mount[0], append(mount[1:], image, at)...).Run(t)
	t.Cleanup(func() { harness.Tool("umount", at).Run(t) })
	return at
}

// On a disk that takes two names for one, and not every name, all files of a
// torrent are right, in a mount and in the next one; other data is left alone.
func TestDiskOfWindows(t *testing.T) {
	t.Parallel()
	harness.NeedPrivateNetwork(t) // and with it, mounts of our own
	kinds := map[string][2][]string{
		"ntfs": {{"mkntfs", "-F", "-Q", "-q"}, {"lowntfs-3g", "-o", "windows_names,ignore_case"}},
	}
	if known, err := os.ReadFile("/proc/filesystems"); err == nil { // as far as the kernel has them
		if strings.Contains(string(known), "\tvfat\n") {
			kinds["vfat"] = [2][]string{{"mkfs.vfat"}, {"mount", "-o", "loop,utf8"}}
		}
		if strings.Contains(string(known), "\texfat\n") {
			kinds["exfat"] = [2][]string{{"mkfs.exfat"}, {"mount", "-o", "loop"}}
		}
	}
	for kind, how := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			harness.Need(t, how[0][0], how[1][0])
			c := harness.Content{Dir: harness.Scratch(t), Name: "set"}
			for i, name := range []string{"ReadMe.txt", "readme.txt", "Dir/a:b?.bin", "Dir/end.", "dir/END", "aux.txt", "été", "ÉTÉ", "plain"} {
				harness.WriteRandom(t, filepath.Join(c.Root(), name), 70_000+i, 90+uint64(i))
			}
			c = c.Create(t)
			s := harness.Seed(t, c.Torrent, c.Dir, "--no-trackers")
			disk := oddDisk(t, how[0], how[1])
			mine := filepath.Join(disk, "set", "mine")
			harness.WriteRandom(t, mine, 1000, 1)
			before, err := os.ReadFile(mine)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				m := harness.MountAt(t, c.Torrent, disk, harness.Mountpoint(t), "--no-trackers", "--peer", s.Peer())
				m.Complete()
				harness.SameTree(t, c.Root(), m.Path(c.Name))
				m.Stop()
			}
			harness.Torrentfs(t, "verify", "-q", c.Torrent, "-d", disk).Run(t)
			if after, err := os.ReadFile(mine); err != nil || string(after) != string(before) {
				t.Errorf("other data was changed: %v", err)
			}
		})
	}
}
