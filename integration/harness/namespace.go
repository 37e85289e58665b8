//go:build linux

package harness

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// namespaceVariable is set in the process that runs in namespaces of its own.
const namespaceVariable = "TORRENTFS_INTEGRATION_NAMESPACE"

// swarmAddr is an address that no client takes for a wrong one. Transmission
// never connects to 127.0.0.0/8, so a swarm on the loopback address alone
// could only be joined from one side.
const swarmAddr = "10.77.0.1"

// againInNamespaces runs this test binary again, in network and mount
// namespaces of its own, and returns its exit code.
func againInNamespaces(vars map[string]string) (int, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), namespaceVariable+"=1")
	for name, value := range vars {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS,
		Pdeathsig:  syscall.SIGKILL,
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	err = cmd.Wait()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return max(exit.ExitCode(), 1), nil
	}
	return 0, err
}

// prepareNamespaces gives the network an address and everybody the FUSE device.
func prepareNamespaces() error {
	if err := keepMounts(); err != nil {
		return fmt.Errorf("make the mounts private: %w", err)
	}
	for _, args := range [][]string{
		{"link", "set", "lo", "up"},
		{"address", "add", swarmAddr + "/32", "dev", "lo"},
	} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %v: %w: %s", args, err, out)
		}
	}
	Env.Addr, Env.Private = swarmAddr, true
	if err := nameTheServer(); err != nil {
		return err
	}
	if err := openDevice(); err != nil {
		Env.NoFUSE = err.Error()
	}
	return nil
}

// keepMounts keeps what is mounted here from the machine's own namespace. The root
// of a chroot is no mount point, so this is done at the namespace's root, to which
// entering the namespace leads; the thread that went there ends with the goroutine.
func keepMounts() error {
	ended := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() { // the first thread does not end, and /proc/self shows what it sees
			ended <- keepMounts()
			runtime.UnlockOSThread()
			return
		}
		ended <- func() error {
			own, err := os.Open("/proc/thread-self/ns/mnt")
			if err != nil {
				return err
			}
			defer own.Close() //nolint:errcheck // was only entered
			if err := unix.Unshare(unix.CLONE_FS); err != nil {
				return os.NewSyscallError("unshare", err)
			}
			if err := unix.Setns(int(own.Fd()), unix.CLONE_NEWNS); err != nil {
				return os.NewSyscallError("setns", err)
			}
			return os.NewSyscallError("mount", unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
		}()
	}()
	return <-ended
}

// openDevice puts a FUSE device that everybody may open, as is usual, in the
// place of one that only root may. Nobody outside sees it.
func openDevice() error {
	st, err := os.Stat("/dev/fuse")
	if err != nil || st.Mode().Perm()&0o006 == 0o006 {
		return err
	}
	dir := filepath.Join(Env.scratch, "dev")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0755"); err != nil {
		return os.NewSyscallError("mount", err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH) //nolint:errcheck // ours, and gone with the namespace at the latest
	node := filepath.Join(dir, "fuse")
	number := st.Sys().(*syscall.Stat_t).Rdev
	if err := unix.Mknod(node, unix.S_IFCHR|0o666, int(number)); err != nil {
		return os.NewSyscallError("mknod", err)
	}
	if err := os.Chmod(node, 0o666); err != nil { // whatever the umask
		return err
	}
	return os.NewSyscallError("mount", unix.Mount(node, "/dev/fuse", "", unix.MS_BIND, ""))
}

// NeedPrivateNetwork skips a test that must not, or cannot, run on the
// machine's own loopback interface.
func NeedPrivateNetwork(t testing.TB) {
	t.Helper()
	if !Env.Private {
		t.Skip("needs root, for a network namespace with an address outside 127.0.0.0/8: " +
			"TORRENTFS_BINARY=$PWD/bin/torrentfs go test -exec $PWD/scripts/as-root.sh ./integration")
	}
}
