//go:build linux

package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// oddDisk makes a file system with a program and mounts it with another; it is
// gone after the test.
func oddDisk(t testing.TB, mkfs, mount []string) string {
	t.Helper()
	dir := scratch(t)
	image, at := filepath.Join(dir, "image"), mkdir(t, dir, "disk")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 64<<20); err != nil {
		t.Fatal(err)
	}
	tool(mkfs[0], append(mkfs[1:], image)...).run(t)
	tool(mount[0], append(mount[1:], image, at)...).run(t)
	t.Cleanup(func() { tool("umount", at).run(t) })
	return at
}

// On a disk that takes two names for one, and not every name, all files of a
// torrent are right, in a mount and in the next one; other data is left alone.
func TestDiskOfWindows(t *testing.T) {
	t.Parallel()
	needPrivateNetwork(t) // and with it, mounts of our own
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
			need(t, how[0][0], how[1][0])
			c := content{dir: scratch(t), name: "set"}
			for i, name := range []string{"ReadMe.txt", "readme.txt", "Dir/a:b?.bin", "Dir/end.", "dir/END", "aux.txt", "été", "ÉTÉ", "plain"} {
				writeRandom(t, filepath.Join(c.root(), name), 70_000+i, 90+uint64(i))
			}
			c = c.create(t)
			s := seed(t, c.torrent, c.dir, "--no-trackers")
			disk := oddDisk(t, how[0], how[1])
			mine := filepath.Join(disk, "set", "mine")
			writeRandom(t, mine, 1000, 1)
			before, err := os.ReadFile(mine)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				m := mountAt(t, c.torrent, disk, mountpoint(t), "--no-trackers", "--peer", s.peer())
				m.complete()
				sameTree(t, c.root(), m.path(c.name))
				m.stop()
			}
			torrentfs(t, "verify", "-q", c.torrent, "-d", disk).run(t)
			if after, err := os.ReadFile(mine); err != nil || string(after) != string(before) {
				t.Errorf("other data was changed: %v", err)
			}
		})
	}
}
