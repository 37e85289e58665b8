//go:build linux

package mount

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

	"torrentfs/integration/harness"
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
	torrent := harness.MakeFile(t, 100_000, 63).Create(t).Torrent
	t.Run("others", func(t *testing.T) {
		t.Parallel()
		m := harness.MountTorrent(t, torrent, "--no-trackers")
		for s := syscall.Signal(1); s <= 64; s++ {
			if !slices.Contains(stopping, s) && !slices.Contains(fatal, s) && !slices.Contains(ending, s) {
				m.Signal(s)
			}
		}
		harness.Tool("ls", m.Dir).Run(t)
		m.Stop()
	})
	for _, s := range ending {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			m := harness.MountTorrent(t, torrent, "--no-trackers")
			m.Signal(s)
			m.Succeed()
			if harness.Mounted(t, m.Dir) {
				t.Error("still mounted")
			}
		})
	}
	t.Run("twice", func(t *testing.T) {
		t.Parallel()
		m := harness.MountTorrent(t, torrent, "--no-trackers")
		m.Signal(syscall.SIGINT)
		m.Signal(syscall.SIGTERM)
		m.Wait()
		if harness.Mounted(t, m.Dir) {
			t.Error("still mounted")
		}
	})
}

// A mount goes on when whoever reads its log is gone, and unmounts in the end, which it says to nobody.
func TestReaderOfLogGoes(t *testing.T) {
	t.Parallel()
	torrent, dir := harness.MakeFile(t, 100_000, 64).Create(t).Torrent, harness.Mountpoint(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(harness.Env.Binary, "mount", torrent, dir, "--data-dir", harness.Scratch(t), "--no-trackers", "--log-level", "debug",
		"--disable-dht", "--disable-lsd", "--disable-portmap", "--status-interval", "10ms")
	c.Env = append(os.Environ(), harness.HomeIn(harness.Scratch(t))...)
	c.Stdout, c.Stderr = w, w
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	defer harness.Detach(dir) //nolint:errcheck // only if the test failed
	hang := time.AfterFunc(harness.Patience, func() { _ = c.Process.Kill() })
	defer hang.Stop()
	for log := bufio.NewScanner(r); log.Scan() && !strings.Contains(log.Text(), "msg=mounted"); {
	}
	r.Close()
	harness.Tool("ls", dir).Run(t)
	if err := c.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Errorf("mount ended with %v", err)
	}
	if harness.Mounted(t, dir) {
		t.Error("still mounted")
	}
}

// umount -f ends a mount whose readers wait: they get EIO, the program ends, and its data folder is free.
func TestUmountForceEndsBlockedReads(t *testing.T) {
	t.Parallel()
	m := deadMount(t)
	readers := blockedReaders(t, m, 3, streaming)
	busy := harness.Torrentfs(t, "umount", m.Dir).Start(t)
	if code := busy.Wait(); code != 4 || !harness.Mounted(t, m.Dir) {
		t.Errorf("umount of a mount in use: exit code %d, want 4; mounted: %v", code, harness.Mounted(t, m.Dir))
	}
	if want := fmt.Sprintf("%d (tail)", readers[0].Cmd.Process.Pid); !strings.Contains(busy.Stderr.Text(), want) {
		t.Errorf("umount does not name the user %s: %s", want, busy.Stderr.Text())
	}
	harness.Torrentfs(t, "umount", "-f", m.Dir).Run(t)
	for _, r := range readers {
		if code := r.Wait(); code != 1 || !strings.Contains(r.Stderr.Text(), "Input/output error") {
			t.Errorf("a reader ended with %d: %s", code, r.Stderr.Text())
		}
	}
	m.Succeed()
	again := harness.MountAt(t, m.Torrent, m.Data, m.Dir, "--no-trackers")
	again.Stop()
}

// umount -f cuts off readers of a server that hangs, and never waits for it.
func TestUmountForceOfHangingServer(t *testing.T) {
	if os.Geteuid() != 0 || !harness.Env.Private {
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
	m.Signal(syscall.SIGSTOP)
	harness.Torrentfs(t, "umount", "-f", m.Dir).Run(t)
	for _, r := range readers {
		if code := r.Wait(); code != 1 {
			t.Errorf("a reader ended with %d: %s", code, r.Stderr.Text())
		}
	}
	m.Signal(syscall.SIGCONT)
	m.Succeed()
}

// Another mount namespace keeps a copy: umount names who has it, and the program ends nevertheless.
func TestUmountWithCopyInOtherNamespace(t *testing.T) {
	if os.Geteuid() != 0 || !harness.Env.Private {
		t.Skip("needs root and a mount namespace of its own")
	}
	t.Parallel()
	m := deadMount(t)
	copied := harness.Tool("unshare", "--mount", "--propagation", "unchanged", "sleep", "1000").Start(t) // ours is private already
	table := fmt.Sprintf("/proc/%d/mountinfo", copied.Cmd.Process.Pid)
	own, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "it has a namespace of its own", func() bool {
		theirs, err := os.Readlink(filepath.Join(filepath.Dir(table), "ns/mnt"))
		name, _ := os.ReadFile(filepath.Join(filepath.Dir(table), "comm"))
		return err == nil && theirs != own && string(name) == "sleep\n"
	})
	umount := harness.Torrentfs(t, "umount", m.Dir).Start(t).Succeed()
	if want := fmt.Sprintf("%d (sleep)", copied.Cmd.Process.Pid); !strings.Contains(umount.Stderr.Text(), want) {
		t.Errorf("umount does not name %s: %s", want, umount.Stderr.Text())
	}
	m.Succeed()
	again := harness.Torrentfs(t, "umount", m.Dir).Start(t)
	if code := again.Wait(); code != 4 || !strings.Contains(again.Stderr.Text(), "in the mount namespace of") {
		t.Errorf("umount of what is mounted elsewhere alone: exit code %d: %s", code, again.Stderr.Text())
	}
}

// Directories whose names hold white space of other scripts, or what the kernel's table escapes, are mounted on and
// unmounted like any other.
func TestMountpointNames(t *testing.T) {
	t.Parallel()
	torrent := harness.MakeFile(t, 100_000, 65).Create(t).Torrent
	for _, name := range []string{"東京\u3000物語", "Film\u00a0: un", "m\rt", "m\u2028t", "a\nb\tc d", `back\134slash`, "\xa0\x85", "#"} {
		t.Run(fmt.Sprintf("%q", name), func(t *testing.T) {
			t.Parallel()
			dir := harness.Mkdir(t, harness.Scratch(t), name)
			m := harness.MountAt(t, torrent, harness.Scratch(t), dir, "--no-trackers")
			harness.Torrentfs(t, "umount", dir).Run(t)
			m.Succeed()
			if harness.Mounted(t, dir) {
				t.Error("still mounted")
			}
			harness.MountAt(t, torrent, harness.Scratch(t), dir, "--no-trackers").Stop()
		})
	}
}
