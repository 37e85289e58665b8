//go:build linux

package integration

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
	if os.Geteuid() != 0 || !env.private {
		t.Skip("needs root and a mount namespace of its own")
	}
	need(t, "mount.fuse3")
	const sbin = "/usr/local/sbin"
	bin = scratch(t)
	symlink(t, env.binary, filepath.Join(bin, "torrentfs"))
	tool("mount", "--bind", bin, sbin).run(t)
	t.Cleanup(func() {
		if err := detach(sbin); err != nil {
			t.Error(err)
		}
	})
	return bin
}

// Under an automount the daemon, too, gets at the directory that it is to mount
// on: it stays in its parent's process group until it has.
func TestAutomount(t *testing.T) {
	asMountHelper(t)
	c := makeFile(t, 300_000, 61).create(t)
	dir := mountpoint(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := command{
		name: self, env: append(homeIn(scratch(t)), automountVariable+"="+dir),
		args: []string{"mount", "-t", "fuse.torrentfs", c.torrent, dir, "-o", "allow_other,no_trackers,data_dir=" + c.dir},
	}.start(t)
	t.Cleanup(func() {
		for mounted(t, dir) {
			if err := detach(dir); err != nil {
				t.Error(err)
				return
			}
		}
	})
	eventually(t, "the automounter waits", func() bool { return strings.Contains(p.stdout.text(), "waiting") })
	look := tool("cmp", c.root(), filepath.Join(dir, c.name)).start(t)
	p.succeed()
	look.succeed()
	torrentfs(t, "umount", dir).run(t)
	eventually(t, "the daemon ends", func() bool { return tool("pgrep", "-f", dir).start(t).wait() != 0 })
}

// systemd runs mount helpers without HOME. What is below the home directory is
// found all the same, without data_dir too. The home directory is a bind mount in a
// namespace that only the script sees.
func TestMountHelperWithoutEnvironment(t *testing.T) {
	asMountHelper(t)
	c := makeFile(t, 300_000, 62).create(t)
	s := seed(t, c.torrent, c.dir, "--no-trackers")
	home, dir := scratch(t), mountpoint(t)
	const script = `
		root=$(awk -F: '$3 == 0 { print $6; exit }' /etc/passwd)
		mount --bind "$1" "$root"
		env -i PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin mount -t fuse.torrentfs "$2" "$3" \
			-o "no_trackers,disable_dht,disable_lsd,disable_portmap,peer=$6"
		cmp "$4" "$3/$5"
		umount "$3"
		while pgrep -f "$3 -o no_trackers" >/dev/null; do sleep 0.1; done`
	tool("unshare", "--mount", "--propagation", "unchanged", "sh", "-euc", script, "sh",
		home, c.torrent, dir, c.root(), c.name, s.peer()).run(t)
	found, err := filepath.Glob(filepath.Join(home, ".cache/torrentfs/*/"+c.name))
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
			dir, log := mountpoint(t), filepath.Join(scratch(t), "log")
			p := torrentfs(t, "mount", "--daemon", "--log-file", log, "--no-trackers", "--data-dir", scratch(t),
				"magnet:?xt=urn:btih:"+strings.Repeat("7", 40), dir).start(t)
			logged := func(what string) bool {
				text, _ := os.ReadFile(log)
				return strings.Contains(string(text), what)
			}
			eventually(t, "the daemon waits", func() bool { return logged("waiting for metadata") })
			if err := syscall.Kill(target(p.cmd.Process.Pid), syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
			if code := p.wait(); code != 130 {
				t.Errorf("exit code %d, want 130", code)
			}
			eventually(t, "the daemon says that it was interrupted", func() bool { return logged("interrupted") })
			eventually(t, "the daemon ends", func() bool { return tool("pgrep", "-f", dir).start(t).wait() != 0 })
		})
	}
}
