//go:build linux

package integration

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// stopping signals stop a process until it is told to continue. Fatal ones say that it is broken, or are the C library's
// own; the Go runtime lets nobody handle them. All others never leave a dead mount.
var (
	stopping = []syscall.Signal{unix.SIGSTOP, unix.SIGTSTP, unix.SIGTTIN}
	fatal    = []syscall.Signal{
		unix.SIGKILL, unix.SIGILL, unix.SIGTRAP, unix.SIGBUS, unix.SIGFPE, unix.SIGSEGV, unix.SIGSTKFLT, unix.SIGSYS, 32, 33,
	}
	ending = []syscall.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGABRT}
)

// Signals that ask a program to end unmount; all others change nothing.
func TestNoSignalLeavesDeadMount(t *testing.T) {
	t.Parallel()
	torrent := makeFile(t, 100_000, 63).create(t).torrent
	t.Run("others", func(t *testing.T) {
		t.Parallel()
		m := mountTorrent(t, torrent, "--no-trackers")
		for s := syscall.Signal(1); s <= 64; s++ {
			if !slices.Contains(stopping, s) && !slices.Contains(fatal, s) && !slices.Contains(ending, s) {
				m.signal(s)
			}
		}
		tool("ls", m.dir).run(t)
		m.stop()
	})
	for _, s := range ending {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			m := mountTorrent(t, torrent, "--no-trackers")
			m.signal(s)
			m.succeed()
			if mounted(t, m.dir) {
				t.Error("still mounted")
			}
		})
	}
	t.Run("twice", func(t *testing.T) {
		t.Parallel()
		m := mountTorrent(t, torrent, "--no-trackers")
		m.signal(syscall.SIGINT)
		m.signal(syscall.SIGTERM)
		m.wait()
		if mounted(t, m.dir) {
			t.Error("still mounted")
		}
	})
}

// A mount goes on when whoever reads its log is gone, and unmounts in the end, which it says to nobody.
func TestReaderOfLogGoes(t *testing.T) {
	t.Parallel()
	torrent, dir := makeFile(t, 100_000, 64).create(t).torrent, mountpoint(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(env.binary, "mount", torrent, dir, "--data-dir", scratch(t), "--no-trackers", "--log-level", "debug",
		"--disable-dht", "--disable-lsd", "--disable-portmap", "--status-interval", "10ms")
	c.Env = append(os.Environ(), homeIn(scratch(t))...)
	c.Stdout, c.Stderr = w, w
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	defer detach(dir) //nolint:errcheck // only if the test failed
	hang := time.AfterFunc(patience, func() { _ = c.Process.Kill() })
	defer hang.Stop()
	for log := bufio.NewScanner(r); log.Scan() && !strings.Contains(log.Text(), "msg=mounted"); {
	}
	r.Close()
	tool("ls", dir).run(t)
	if err := c.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Errorf("mount ended with %v", err)
	}
	if mounted(t, dir) {
		t.Error("still mounted")
	}
}

// umount -f ends a mount whose readers wait: they get EIO, the program ends, and its data folder is free.
func TestUmountForceEndsBlockedReads(t *testing.T) {
	t.Parallel()
	m := deadMount(t)
	readers := blockedReaders(t, m, 3, streaming)
	busy := torrentfs(t, "umount", m.dir).start(t)
	if code := busy.wait(); code != 4 || !mounted(t, m.dir) {
		t.Errorf("umount of a mount in use: exit code %d, want 4; mounted: %v", code, mounted(t, m.dir))
	}
	if want := fmt.Sprintf("%d (tail)", readers[0].cmd.Process.Pid); !strings.Contains(busy.stderr.text(), want) {
		t.Errorf("umount does not name the user %s: %s", want, busy.stderr.text())
	}
	torrentfs(t, "umount", "-f", m.dir).run(t)
	for _, r := range readers {
		if code := r.wait(); code != 1 || !strings.Contains(r.stderr.text(), "Input/output error") {
			t.Errorf("a reader ended with %d: %s", code, r.stderr.text())
		}
	}
	m.succeed()
	again := mountAt(t, m.torrent, m.data, m.dir, "--no-trackers")
	again.stop()
}

// umount -f cuts off readers of a server that hangs, and never waits for it.
func TestUmountForceOfHangingServer(t *testing.T) {
	if os.Geteuid() != 0 || !env.private {
		t.Skip("needs root and a mount namespace of its own")
	}
	const connections = "/sys/fs/fuse/connections"
	if entries, err := os.ReadDir(connections); err == nil && len(entries) == 0 {
		if err := unix.Mount("fusectl", connections, "fusectl", 0, ""); err != nil {
			t.Skip("the kernel shows no connections here:", err)
		}
		t.Cleanup(func() { _ = unix.Unmount(connections, unix.MNT_DETACH) })
	}
	m := deadMount(t)
	readers := blockedReaders(t, m, 2, streaming)
	m.signal(syscall.SIGSTOP)
	torrentfs(t, "umount", "-f", m.dir).run(t)
	for _, r := range readers {
		if code := r.wait(); code != 1 {
			t.Errorf("a reader ended with %d: %s", code, r.stderr.text())
		}
	}
	m.signal(syscall.SIGCONT)
	m.succeed()
}

// Another mount namespace keeps a copy: umount names who has it, and the program ends nevertheless.
func TestUmountWithCopyInOtherNamespace(t *testing.T) {
	if os.Geteuid() != 0 || !env.private {
		t.Skip("needs root and a mount namespace of its own")
	}
	t.Parallel()
	m := deadMount(t)
	copied := tool("unshare", "--mount", "--propagation", "unchanged", "sleep", "1000").start(t) // ours is private already
	table := fmt.Sprintf("/proc/%d/mountinfo", copied.cmd.Process.Pid)
	own, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "it has a namespace of its own", func() bool {
		theirs, err := os.Readlink(filepath.Join(filepath.Dir(table), "ns/mnt"))
		name, _ := os.ReadFile(filepath.Join(filepath.Dir(table), "comm"))
		return err == nil && theirs != own && string(name) == "sleep\n"
	})
	umount := torrentfs(t, "umount", m.dir).start(t).succeed()
	if want := fmt.Sprintf("%d (sleep)", copied.cmd.Process.Pid); !strings.Contains(umount.stderr.text(), want) {
		t.Errorf("umount does not name %s: %s", want, umount.stderr.text())
	}
	m.succeed()
	again := torrentfs(t, "umount", m.dir).start(t)
	if code := again.wait(); code != 4 || !strings.Contains(again.stderr.text(), "in the mount namespace of") {
		t.Errorf("umount of what is mounted elsewhere alone: exit code %d: %s", code, again.stderr.text())
	}
}

// Directories whose names hold white space of other scripts, or what the kernel's table escapes, are mounted on and
// unmounted like any other.
func TestMountpointNames(t *testing.T) {
	t.Parallel()
	torrent := makeFile(t, 100_000, 65).create(t).torrent
	for _, name := range []string{"東京\u3000物語", "Film\u00a0: un", "m\rt", "m\u2028t", "a\nb\tc d", `back\134slash`, "\xa0\x85", "#"} {
		t.Run(fmt.Sprintf("%q", name), func(t *testing.T) {
			t.Parallel()
			dir := mkdir(t, scratch(t), name)
			m := mountAt(t, torrent, scratch(t), dir, "--no-trackers")
			torrentfs(t, "umount", dir).run(t)
			m.succeed()
			if mounted(t, dir) {
				t.Error("still mounted")
			}
			mountAt(t, torrent, scratch(t), dir, "--no-trackers").stop()
		})
	}
}
