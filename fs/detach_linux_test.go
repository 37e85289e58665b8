package fs_test

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The kernel's table of mounts escapes some bytes of a name and leaves others, such as the white
// space of other scripts. A server finds its mount by any name.
func TestMountpointsOfAnyName(t *testing.T) {
	for _, name := range []string{
		"a space", "a\ttab", "a\nnewline", "\rreturn\r", "form\f\vfeed", `back\slash\040`, "#hash", "no-break\u00a0space", "\u3000 \u2028\u0085",
		"-rf", " - ", "comma,equals=",
	} {
		t.Run("", func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), name)
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			s := startServer(t, serverConfig{Dir: dir, Files: []fileConfig{{Path: "a", Size: 100}}})
			if !mounted(dir) {
				t.Fatalf("%q is not in the table", name)
			}
			must(t, "read", func() error { _, err := os.ReadFile(s.path("a")); return err })
			s.ask("unmount")
			if mounted(dir) {
				t.Errorf("%q is still mounted", name)
			}
		})
	}
}

// A lazy unmount tells a server nothing, and the kernel keeps the mount while it is in use. The
// server ends nevertheless, and its readers get EIO.
func TestDetachedByOthersAsRoot(t *testing.T) {
	needRoot(t)
	s := startServer(t, serverConfig{Files: []fileConfig{{Path: "a", Size: 8 << 20, Missing: true}}})
	f, err := os.Open(s.path("a"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	read := make(chan error, 1)
	go func() {
		_, err := f.ReadAt(make([]byte, 4096), 1<<20)
		read <- err
	}()
	eventually(t, "the reader waits", func() bool { return s.stats().Waiting > 0 })
	must(t, "umount", func() error { return unix.Unmount(s.dir, unix.MNT_DETACH) })
	s.ask("wait")
	if err := within(t, "reader", func() error { return <-read }); !errors.Is(err, syscall.EIO) {
		t.Errorf("read: %v, want EIO", err)
	}
	if got := s.ask("open"); got != "0" {
		t.Errorf("%s files are open after the mount was detached", got)
	}
	f.Close()
	s.ask("leaks")
}

// A copy in another mount namespace keeps the file system alive in the kernel, and the server is
// told nothing either.
func TestUnmountedButInOtherNamespacesAsRoot(t *testing.T) {
	needRoot(t)
	s := startServer(t, serverConfig{Files: []fileConfig{{Path: "a", Size: 100}}})
	// The mount alone is made private: in a chroot the root directory is no mount point.
	const script = `mount --make-private "$1"; echo ready; read x; cat "$1/a"`
	copied := exec.Command("unshare", "--mount", "--propagation", "unchanged", "sh", "-c", script, "sh", s.dir)
	in, err := copied.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := copied.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := copied.Start(); err != nil {
		t.Fatal(err)
	}
	defer copied.Wait() //nolint:errcheck // cat fails, or was killed
	defer in.Close()
	must(t, "unshare", func() error { _, err := io.ReadFull(out, make([]byte, len("ready\n"))); return err })
	must(t, "umount", func() error { return unix.Unmount(s.dir, 0) })
	s.ask("wait")
	s.stop()
}

// A mount that was bound to a second place, or whose directory was renamed, is dead there when its
// server ends. It goes everywhere.
func TestUnmountEverywhereAsRoot(t *testing.T) {
	needRoot(t)
	base := t.TempDir()
	before, after, bound := filepath.Join(base, "before"), filepath.Join(base, "after"), filepath.Join(base, "bound")
	if err := errors.Join(os.MkdirAll(filepath.Join(before, "mnt"), 0o755), os.Mkdir(bound, 0o755)); err != nil {
		t.Fatal(err)
	}
	s := startServer(t, serverConfig{Dir: filepath.Join(before, "mnt"), Files: []fileConfig{{Path: "a", Size: 100}}})
	if err := unix.Mount(s.dir, bound, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(bound, unix.MNT_DETACH) //nolint:errcheck // only if the test failed
	if err := os.Rename(before, after); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(filepath.Join(after, "mnt"), unix.MNT_DETACH) //nolint:errcheck // only if the test failed
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if !s.wait() {
		t.Fatal("the server did not end")
	}
	for _, dir := range []string{filepath.Join(after, "mnt"), bound} {
		if mounted(dir) {
			t.Errorf("%s is still mounted", dir)
		}
	}
}
