package fs_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"torrentfs/fs"
)

func TestAttributes(t *testing.T) {
	s := startServer(t, serverConfig{
		Files: []fileConfig{
			{Path: "t/movie", Size: 12345, Missing: true},
			{Path: "t/run.sh", Size: 10, Executable: true},
			{Path: "t/sub/empty"},
			{Path: "t/link", Symlink: "sub/empty"},
		},
		Owner: &fs.Owner{UID: 1234, GID: 4321}, Umask: 0o050, // others are let in: a plain user gives the files to another user
	})
	for _, want := range []struct {
		path        string
		mode        uint32
		size        int64
		blocks      int64
		nlink       uint64
		skipMtime   bool
		description string
	}{
		{"", unix.S_IFDIR | 0o705, 0, 0, 3, false, "root"},
		{"t", unix.S_IFDIR | 0o705, 0, 0, 3, false, "directory"},
		{"t/movie", unix.S_IFREG | 0o604, 12345, 25, 1, false, "missing file"},
		{"t/run.sh", unix.S_IFREG | 0o705, 10, 1, 1, false, "executable"},
		{"t/sub/empty", unix.S_IFREG | 0o604, 0, 0, 1, false, "empty file"},
		{"t/link", unix.S_IFLNK | 0o777, 9, 0, 1, false, "link"},
	} {
		var st unix.Stat_t
		must(t, want.description, func() error { return unix.Lstat(s.path(want.path), &st) })
		if st.Mode != want.mode || st.Size != want.size || st.Blocks != want.blocks || uint64(st.Nlink) != want.nlink {
			t.Errorf("%s: mode %o size %d blocks %d nlink %d, want %o %d %d %d", want.description,
				st.Mode, st.Size, st.Blocks, st.Nlink, want.mode, want.size, want.blocks, want.nlink)
		}
		if st.Mtim.Sec != 1_000_000_000 || st.Mtim.Nsec != 5 {
			t.Errorf("%s: mtime %v", want.description, st.Mtim)
		}
		if st.Uid != 1234 || st.Gid != 4321 {
			t.Errorf("%s: owner %d:%d", want.description, st.Uid, st.Gid)
		}
	}
	must(t, "readlink", func() error {
		target, err := os.Readlink(s.path("t/link"))
		if target != "sub/empty" {
			t.Errorf("link to %q", target)
		}
		return err
	})
	must(t, "statfs", func() error {
		var st unix.Statfs_t
		err := unix.Statfs(s.dir, &st)
		if st.Blocks*uint64(st.Bsize) != 16384 || st.Bfree != 0 || st.Bavail != 0 {
			t.Errorf("statfs: %d blocks of %d, %d free", st.Blocks, st.Bsize, st.Bfree)
		}
		const want = unix.ST_RDONLY | unix.ST_NOSUID | unix.ST_NODEV
		if st.Flags&want != want {
			t.Errorf("mount flags %#x", st.Flags)
		}
		return err
	})
	err := within(t, "lookup", func() error { _, err := os.Stat(s.path("t/none")); return err })
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing name: %v", err)
	}
}

func TestReadOnly(t *testing.T) {
	s := startServer(t, serverConfig{Files: []fileConfig{{Path: "a", Size: 10}}})
	refusesWrites(t, s)
}

// A mount that was made writable behind our back refuses just as well.
func TestRemountedReadOnlyAsRoot(t *testing.T) {
	needRoot(t)
	s := startServer(t, serverConfig{Files: []fileConfig{{Path: "a", Size: 10}}})
	must(t, "remount", func() error { return unix.Mount("", s.dir, "", unix.MS_REMOUNT|unix.MS_NOSUID|unix.MS_NODEV, "") })
	refusesWrites(t, s)
}

func refusesWrites(t *testing.T, s *server) {
	t.Helper()
	for name, f := range map[string]func() error{
		"open":     func() error { _, err := os.OpenFile(s.path("a"), os.O_WRONLY, 0); return err },
		"truncate": func() error { return os.Truncate(s.path("a"), 0) },
		"create":   func() error { return os.WriteFile(s.path("b"), nil, 0o600) },
		"mkdir":    func() error { return os.Mkdir(s.path("c"), 0o700) },
		"remove":   func() error { return os.Remove(s.path("a")) },
		"rename":   func() error { return os.Rename(s.path("a"), s.path("b")) },
		"link":     func() error { return os.Link(s.path("a"), s.path("b")) },
		"symlink":  func() error { return os.Symlink("a", s.path("b")) },
		"chmod":    func() error { return os.Chmod(s.path("a"), 0o777) },
	} {
		if err := within(t, name, f); !errors.Is(err, syscall.EROFS) {
			t.Errorf("%s: %v, want EROFS", name, err)
		}
	}
}

func TestXattrs(t *testing.T) {
	s := startServer(t, serverConfig{Files: []fileConfig{{Path: "a"}, {Path: "d/b"}, {Path: "d/e/f"}}, Xattrs: true})
	get := func(path, name string) (string, error) {
		buf := make([]byte, 64)
		n := 0
		err := within(t, "getxattr", func() (err error) { n, err = unix.Getxattr(s.path(path), name, buf); return err })
		return string(buf[:max(n, 0)]), err
	}
	for path, want := range map[string]string{
		"": "-1 true [0 1 2]", "a": "0 false [0]", "d": "-1 false [1 2]", "d/b": "1 false [1]", "d/e": "-1 false [2]",
	} {
		if got, err := get(path, "user.torrent.about"); got != want || err != nil {
			t.Errorf("%q: %q, %v, want %q", path, got, err, want)
		}
	}
	for _, c := range []struct{ path, name string }{
		{"a", "user.torrent.none"},
		{"a", "user.other"},
	} {
		if _, err := get(c.path, c.name); !errors.Is(err, unix.ENODATA) {
			t.Errorf("%s of %q: %v, want ENODATA", c.name, c.path, err)
		}
	}
	// ls -l asks for these until it hears that no file of the device has any.
	for _, name := range []string{"security.selinux", "security.capability", "system.posix_acl_access"} {
		if _, err := get("a", name); !errors.Is(err, unix.ENOTSUP) {
			t.Errorf("%s: %v, want ENOTSUP", name, err)
		}
	}
	if _, err := unix.Getxattr(s.path("a"), "user.torrent.about", nil); err != nil {
		t.Errorf("size of attribute: %v", err)
	}
	if got, err := get("d/b", "user.torrent"); got != "about=1 false [1]\ncolour=\n" || err != nil {
		t.Errorf("all attributes: %q, %v", got, err)
	}
	// Programs that copy files store what they find listed.
	if n, err := unix.Listxattr(s.path("a"), make([]byte, 64)); n != 0 || err != nil {
		t.Errorf("%d bytes of names are listed, %v", n, err)
	}
	if _, err := os.Lstat(s.path(strings.Repeat("n", 256))); !errors.Is(err, unix.ENAMETOOLONG) {
		t.Errorf("a name of 256 bytes: %v", err)
	}
	if _, err := os.Lstat(s.path(strings.Repeat("n", 255))); !errors.Is(err, unix.ENOENT) {
		t.Errorf("a name of 255 bytes: %v", err)
	}
	if err := unix.Setxattr(s.path("a"), "user.torrent.colour", []byte("red"), 0); !errors.Is(err, unix.EROFS) {
		t.Errorf("set attribute of a read-only mount: %v", err)
	}
}

// Attributes can be set if the mount allows it, and nothing else can be written.
func TestSetXattr(t *testing.T) {
	s := startServer(t, serverConfig{Files: []fileConfig{{Path: "a", Size: 9}}, Xattrs: true, SetXattr: true})
	set := func(name, value string, flags int) error {
		return within(t, "setxattr", func() error { return unix.Setxattr(s.path("a"), name, []byte(value), flags) })
	}
	for _, c := range []struct {
		name, value string
		flags       int
		want        error
	}{
		{"user.torrent.colour", "red", 0, nil},
		{"user.torrent.colour", "green", unix.XATTR_REPLACE, nil},
		{"user.torrent.colour", "blue", unix.XATTR_CREATE, unix.EEXIST},
		{"user.torrent.colour", "none", 0, unix.EINVAL},
		{"user.torrent.about", "x", 0, unix.EPERM},
		{"user.other", "x", 0, unix.EROFS},
	} {
		if err := set(c.name, c.value, c.flags); !errors.Is(err, c.want) {
			t.Errorf("set %s to %q: %v, want %v", c.name, c.value, err, c.want)
		}
	}
	get := func() string {
		buf := make([]byte, 64)
		n, err := unix.Getxattr(s.path("a"), "user.torrent.colour", buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
	if got := get(); got != "green" {
		t.Errorf("colour %q, want green", got)
	}
	if err := unix.Removexattr(s.path("a"), "user.torrent.colour"); err != nil || get() != "" {
		t.Errorf("remove attribute: %v, colour %q", err, get())
	}
	for name, err := range map[string]error{
		"write":  os.WriteFile(s.path("a"), nil, 0),
		"create": os.WriteFile(s.path("new"), nil, 0o644),
		"mkdir":  os.Mkdir(s.path("dir"), 0o755),
		"remove": os.Remove(s.path("a")),
		"chmod":  os.Chmod(s.path("a"), 0),
	} {
		if !errors.Is(err, unix.EROFS) {
			t.Errorf("%s: %v, want EROFS", name, err)
		}
	}
	if info, err := os.Stat(s.path("a")); err != nil || info.Mode() != 0o644 {
		t.Errorf("stat: %v, %v, want the owner's write bit, which the kernel asks for", info, err)
	}
}

func TestLargeDirectory(t *testing.T) {
	const count = 100_000
	s := startServer(t, serverConfig{Many: count})
	for _, round := range []string{"cold", "warm"} {
		must(t, round, func() error {
			entries, err := os.ReadDir(s.path("many"))
			if err != nil {
				return err
			}
			if len(entries) != count {
				t.Fatalf("%s: %d entries", round, len(entries))
			}
			for i := 0; i < count; i += 9999 {
				info, err := entries[i].Info()
				if err != nil {
					return err
				}
				if info.Size() != int64(i) || !info.Mode().IsRegular() {
					t.Errorf("%s: %v", info.Name(), info)
				}
			}
			return nil
		})
	}
	// A reader may come back to any place in the directory.
	must(t, "seekdir", func() error {
		dir, err := os.Open(s.path("many"))
		if err != nil {
			return err
		}
		defer dir.Close()
		first, err := dir.Readdirnames(5000)
		if err != nil {
			return err
		}
		if _, err := dir.Seek(0, 0); err != nil {
			return err
		}
		again, err := dir.Readdirnames(5000)
		if !slices.Equal(first, again) {
			t.Error("names differ after a seek to the start")
		}
		return err
	})
}

func TestInodesSurviveRemount(t *testing.T) {
	dir := t.TempDir()
	inodes := func() (list []uint64) {
		s := startServer(t, serverConfig{Dir: dir, Files: []fileConfig{{Path: "t/a", Size: 1}, {Path: "t/b/c"}}})
		for _, p := range []string{"", "t", "t/a", "t/b", "t/b/c"} {
			var st unix.Stat_t
			must(t, "stat", func() error { return unix.Stat(s.path(p), &st) })
			list = append(list, st.Ino)
		}
		s.stop()
		return list
	}
	first, second := inodes(), inodes()
	if !slices.Equal(first, second) {
		t.Errorf("inode numbers changed: %v, %v", first, second)
	}
	slices.Sort(first)
	if len(slices.Compact(first)) != 5 {
		t.Errorf("inode numbers repeat: %v", first)
	}
}

func TestMountpointErrors(t *testing.T) {
	requireFUSE(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, file + "-missing"} {
		_, err := fs.Mount(context.Background(), path, newFakeSource(), fs.Options{})
		if !errors.Is(err, fs.ErrMountpoint) {
			t.Errorf("%s: %v", path, err)
		}
	}
	bad := newFakeSource()
	bad.add("../escape", 1)
	if _, err := fs.Mount(context.Background(), t.TempDir(), bad, fs.Options{}); !errors.Is(err, fs.ErrBadEntry) {
		t.Errorf("bad entry: %v", err)
	}
}

// A process that was killed leaves a mount that answers ENOTCONN; the next one takes it over.
func TestStaleMountIsHealed(t *testing.T) {
	dir := t.TempDir()
	s := startServer(t, serverConfig{Dir: dir, Files: []fileConfig{{Path: "a", Size: 10}}})
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	s.wait()
	if _, err := os.Stat(filepath.Join(dir, "none")); !errors.Is(err, syscall.ENOTCONN) {
		t.Fatalf("after kill: %v, want ENOTCONN", err)
	}
	s = startServer(t, serverConfig{Dir: dir, Files: []fileConfig{{Path: "a", Size: 10}}})
	must(t, "read", func() error { _, err := os.ReadFile(s.path("a")); return err })
}

// The kernel knows a mount by its real path only.
func TestMountThroughSymlink(t *testing.T) {
	base := t.TempDir()
	link := filepath.Join(base, "link")
	if err := errors.Join(os.Mkdir(filepath.Join(base, "real"), 0o700), os.Symlink("real", link)); err != nil {
		t.Fatal(err)
	}
	s := startServer(t, serverConfig{Dir: link, Files: []fileConfig{{Path: "a", Size: 10}}})
	must(t, "read", func() error { _, err := os.ReadFile(filepath.Join(link, "a")); return err })
	s.ask("unmount")
	if mounted(filepath.Join(base, "real")) {
		t.Error("still mounted")
	}
}

// Other users are let in only with AllowOther.
func TestAllowOtherAsRoot(t *testing.T) {
	needRoot(t)
	for _, allow := range []bool{false, true} {
		dir, err := os.MkdirTemp("", "torrentfs-other")
		if err != nil {
			t.Fatal(err)
		}
		defer os.Remove(dir)
		s := startServer(t, serverConfig{Dir: dir, AllowOther: allow, Files: []fileConfig{{Path: "a", Size: 10}}})
		cat := exec.Command("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "cat", s.path("a"))
		err = within(t, "cat", cat.Run)
		if (err == nil) != allow {
			t.Errorf("allow_other %v: cat as another user: %v", allow, err)
		}
		s.stop()
	}
}

// A plain user mounts through fusermount3. Where /dev/fuse is closed to users, a private mount
// namespace opens it.
func TestPlainUserAsRoot(t *testing.T) {
	needRoot(t)
	base, err := os.MkdirTemp("", "torrentfs-user")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(base)
	dir := filepath.Join(base, "mnt")
	if err := errors.Join(os.Mkdir(dir, 0o755), os.Chmod(base, 0o755), os.Chown(dir, 65534, 65534)); err != nil {
		t.Fatal(err)
	}
	s := startServerAs(t, serverConfig{Dir: dir, Data: dir, Files: []fileConfig{
		{Path: "a", Size: 300_000, Complete: true},
		{Path: "blocked", Size: 300_000, Missing: true},
	}}, func(cmd *exec.Cmd) {
		self := filepath.Join(base, "server")
		if out, err := exec.Command("cp", cmd.Path, self).CombinedOutput(); err != nil {
			t.Fatalf("copy server: %s", out)
		}
		script, args := `exec setpriv --reuid 65534 --regid 65534 --clear-groups "$1"`, []string{"sh", "-c"}
		if st, err := os.Stat("/dev/fuse"); err != nil || st.Mode().Perm() != 0o666 {
			script = `set -e; mknod "$0/fuse" c 10 229; chmod 666 "$0/fuse"; mount --bind "$0/fuse" /dev/fuse; ` + script
			args = []string{"unshare", "-m", "sh", "-c"}
		}
		path, err := exec.LookPath(args[0])
		if err != nil {
			t.Fatal(err)
		}
		*cmd = exec.Cmd{Path: path, Stderr: cmd.Stderr, Env: cmd.Env, Args: append(args, script, base, self)}
	})
	if got := s.ask("sh id -u; cat %s/a | wc -c; ls -l %s/a | cut -c1-10; grep -c %s /proc/mounts", dir, dir, dir); !strings.Contains(got, `65534\n300000\n-rw-r--r--\n1\n`) {
		t.Errorf("as a plain user: %s", got)
	}
	if got := s.ask("sh cat %s/blocked >/dev/null 2>&1 & sleep 0.1", dir); !strings.Contains(got, "nil") {
		t.Errorf("start a blocked reader: %s", got)
	}
	s.ask("unmount")
	if got := s.ask("sh grep -c %s /proc/mounts", dir); !strings.Contains(got, `"0\n"`) {
		t.Errorf("after unmount: %s", got)
	}
}
