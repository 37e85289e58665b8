//go:build linux

package mount

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"torrentfs/integration/harness"
)

// automountVariable makes this test binary an automounter: it names the mount
// point; the command that mounts there is its arguments.
const automountVariable = "TORRENTFS_INTEGRATION_AUTOMOUNT"

// Requests of autofs, from linux/auto_fs.h: the mount is there, or could not be made.
const (
	autofsReady = 0x9360
	autofsFail  = 0x9361
)

// automount does what systemd does for an automount unit: it lets nobody but
// its own process group look at the directory until it has mounted there, which
// it does when somebody wants to look. It serves the first who does.
func automount(dir string, args []string) error {
	requests, w, err := os.Pipe()
	if err != nil {
		return err
	}
	options := fmt.Sprintf("fd=%d,pgrp=%d,minproto=5,maxproto=5,direct", w.Fd(), syscall.Getpgrp())
	if err := unix.Mount("automount", dir, "autofs", 0, options); err != nil {
		return os.NewSyscallError("mount", err)
	}
	root, err := os.Open(dir)
	if err != nil {
		return err
	}
	fmt.Println("waiting")
	packet := make([]byte, 400) // struct autofs_v5_packet, which is smaller
	n, err := requests.Read(packet)
	if err != nil || n < 12 {
		return fmt.Errorf("read request: %d bytes, %w", n, err)
	}
	token := int(binary.NativeEndian.Uint32(packet[8:]))
	out, failed := exec.Command(args[0], args[1:]...).CombinedOutput()
	fmt.Printf("%s\n", out)
	answer := uint(autofsReady)
	if failed != nil {
		answer = autofsFail
	}
	return errors.Join(failed, unix.IoctlSetInt(int(root.Fd()), answer, token), root.Close())
}

// asMountHelper puts the program where mount(8) and mount.fuse3 look for it, in a
// directory of its own.
func asMountHelper(t *testing.T) (bin string) {
	t.Helper()
	if os.Geteuid() != 0 || !harness.Env.Private {
		t.Skip("needs root and a mount namespace of its own")
	}
	harness.Need(t, "mount.fuse3")
	const sbin = "/usr/local/sbin"
	bin = harness.Scratch(t)
	harness.Symlink(t, harness.Env.Binary, filepath.Join(bin, "torrentfs"))
	harness.Tool("mount", "--bind", bin, sbin).Run(t)
	t.Cleanup(func() {
		if err := harness.Detach(sbin); err != nil {
			t.Error(err)
		}
	})
	return bin
}

// Under an automount the daemon, too, gets at the directory that it is to mount
// on: it stays in its parent's process group until it has.
func TestAutomount(t *testing.T) {
	asMountHelper(t)
	c := harness.MakeFile(t, 300_000, 61).Create(t)
	dir := harness.Mountpoint(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := harness.Command{
		Name: self, Env: append(harness.HomeIn(harness.Scratch(t)), automountVariable+"="+dir),
		Args: []string{"mount", "-t", "fuse.torrentfs", c.Torrent, dir, "-o", "allow_other,no_trackers,data_dir=" + c.Dir},
	}.Start(t)
	t.Cleanup(func() {
		for harness.Mounted(t, dir) {
			if err := harness.Detach(dir); err != nil {
				t.Error(err)
				return
			}
		}
	})
	harness.Eventually(t, "the automounter waits", func() bool { return strings.Contains(p.Stdout.Text(), "waiting") })
	look := harness.Tool("cmp", c.Root(), filepath.Join(dir, c.Name)).Start(t)
	p.Succeed()
	look.Succeed()
	harness.Torrentfs(t, "umount", dir).Run(t)
	harness.Eventually(t, "the daemon ends", func() bool { return harness.Tool("pgrep", "-f", dir).Start(t).Wait() != 0 })
}

// systemd runs mount helpers without HOME. What is below the home directory is
// found all the same, without data_dir too. The home directory is a bind mount in a
// namespace that only the script sees.
func TestMountHelperWithoutEnvironment(t *testing.T) {
	asMountHelper(t)
	c := harness.MakeFile(t, 300_000, 62).Create(t)
	s := harness.Seed(t, c.Torrent, c.Dir, "--no-trackers")
	home, dir := harness.Scratch(t), harness.Mountpoint(t)
	const script = `
		root=$(awk -F: '$3 == 0 { print $6; exit }' /etc/passwd)
		mount --bind "$1" "$root"
		env -i PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin mount -t fuse.torrentfs "$2" "$3" \
			-o "no_trackers,disable_dht,disable_lsd,disable_portmap,peer=$6"
		cmp "$4" "$3/$5"
		umount "$3"
		while pgrep -f "$3 -o no_trackers" >/dev/null; do sleep 0.1; done`
	harness.Tool("unshare", "--mount", "--propagation", "unchanged", "sh", "-euc", script, "sh",
		home, c.Torrent, dir, c.Root(), c.Name, s.Peer()).Run(t)
	found, err := filepath.Glob(filepath.Join(home, ".cache/torrentfs/*/"+c.Name))
	if err != nil || len(found) != 1 {
		t.Errorf("data in the home directory: %q, %v", found, err)
	}
}

// A daemon that is told to stop before its mount is ready stops, whether its
// parent alone is told or, by Ctrl-C, both.
func TestDaemonStopsBeforeItIsReady(t *testing.T) {
	for name, target := range map[string]func(pid int) int{
		"parent": func(pid int) int { return pid },
		"group":  func(pid int) int { return -pid },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, log := harness.Mountpoint(t), filepath.Join(harness.Scratch(t), "log")
			p := harness.Torrentfs(t, "mount", "--daemon", "--log-file", log, "--no-trackers", "--data-dir", harness.Scratch(t),
				"magnet:?xt=urn:btih:"+strings.Repeat("7", 40), dir).Start(t)
			logged := func(what string) bool {
				text, _ := os.ReadFile(log)
				return strings.Contains(string(text), what)
			}
			harness.Eventually(t, "the daemon waits", func() bool { return logged("waiting for metadata") })
			if err := syscall.Kill(target(p.Cmd.Process.Pid), syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
			if code := p.Wait(); code != 130 {
				t.Errorf("exit code %d, want 130", code)
			}
			harness.Eventually(t, "the daemon says that it was interrupted", func() bool { return logged("interrupted") })
			harness.Eventually(t, "the daemon ends", func() bool { return harness.Tool("pgrep", "-f", dir).Start(t).Wait() != 0 })
		})
	}
}
