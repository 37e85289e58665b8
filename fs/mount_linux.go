package fs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"torrentfs/fs/mounttable"
)

const (
	canBounce = true

	deviceFile = "/dev/fuse"
	fuseConf   = "/etc/fuse.conf"
)

// startServer mounts and answers the kernel's first request. Root calls mount(2) itself; others,
// and root without the privilege, ask fusermount3.
func startServer(f *fileSystem, mountpoint string, opt Options) (*fuse.Server, error) {
	options := serverOptions(f, opt)
	if os.Geteuid() == 0 {
		server, err := mountDirectly(f, mountpoint, options)
		if err == nil || !errors.Is(err, syscall.EPERM) {
			return server, err
		}
		opt.Logger.Debug("mount(2) refused, asking fusermount3", "err", err)
	}
	if err := checkHelper(opt); err != nil {
		return nil, err
	}
	options.Options = []string{access(opt), "nosuid", "nodev", "noatime", "default_permissions"}
	server, err := mountByHelper(f, mountpoint, options)
	if err != nil {
		return nil, explainRefusal(err)
	}
	return server, nil
}

// mountDirectly calls mount(2). The descriptor of the device is never inherited by another process,
// which would keep the mount alive, and hanging, after our death.
func mountDirectly(f *fileSystem, mountpoint string, options *fuse.MountOptions) (*fuse.Server, error) {
	fd, err := unix.Open(deviceFile, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, explainDevice(err)
	}
	data := fmt.Sprintf("fd=%d,rootmode=%o,user_id=%d,group_id=%d,max_read=%d,default_permissions",
		fd, unix.S_IFDIR, os.Geteuid(), os.Getegid(), options.MaxWrite)
	if options.AllowOther {
		data += ",allow_other"
	}
	var flags uintptr = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOATIME
	if access(f.opt) == "ro" {
		flags |= unix.MS_RDONLY
	}
	err = unix.Mount(options.FsName, mountpoint, "fuse."+options.Name, flags, data)
	if err != nil {
		unix.Close(fd)
		return nil, explainRefusal(os.NewSyscallError("mount", err))
	}
	server, err := fuse.NewServer(f, "/dev/fd/"+strconv.Itoa(fd), options)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("begin to serve: %w", err), unix.Unmount(mountpoint, unix.MNT_DETACH))
	}
	return server, nil
}

func explainDevice(err error) error {
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%w: %s does not exist; load the module with \"modprobe fuse\", or give the container "+
			"the device (--device %s)", ErrNoFUSE, deviceFile, deviceFile)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%w: no permission to open %s; it is usually readable and writable by all (0666), and "+
			"containers need it allowed", ErrNoFUSE, deviceFile)
	}
	return fmt.Errorf("%w: open %s: %w", ErrNoFUSE, deviceFile, err)
}

// checkHelper explains an error that fusermount3 would only hint at. fusermount3 opens the device
// as the user.
func checkHelper(opt Options) error {
	if _, err := fusermount(); err != nil {
		return fmt.Errorf("%w: fusermount3 is not installed (package fuse3); without it only root can mount", ErrNoFUSE)
	}
	if err := unix.Faccessat(unix.AT_FDCWD, deviceFile, unix.R_OK|unix.W_OK, unix.AT_EACCESS); err != nil {
		return explainDevice(err)
	}
	if opt.AllowOther && os.Geteuid() != 0 && !userAllowOther() {
		return fmt.Errorf("%w: to let other users in, %s needs the line \"user_allow_other\"", ErrNoFUSE, fuseConf)
	}
	return nil
}

func userAllowOther() bool {
	file, err := os.Open(fuseConf)
	if err != nil {
		return false
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if strings.TrimSpace(lines.Text()) == "user_allow_other" {
			return true
		}
	}
	return false
}

// fusermount finds the helper that mounts and unmounts for plain users.
func fusermount() (string, error) {
	for _, name := range []string{"fusermount3", "/bin/fusermount3", "/usr/bin/fusermount3", "fusermount"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", exec.ErrNotFound
}

// unmount unmounts what is on top at path; if lazy, it detaches it even if it is in use.
func unmount(ctx context.Context, path string, lazy bool) error {
	flags := unix.UMOUNT_NOFOLLOW
	if lazy {
		flags |= unix.MNT_DETACH
	}
	err := unix.Unmount(path, flags)
	if !errors.Is(err, syscall.EPERM) {
		return os.NewSyscallError("umount", err)
	}
	helper, err := fusermount()
	if err != nil {
		return err
	}
	args := []string{"-u", "-q"}
	if lazy {
		args = append(args, "-z")
	}
	out, err := exec.CommandContext(ctx, helper, append(args, "--", path)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("fusermount3 -u: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// reach asks the server of the mount at path, if there is one. A plain stat would be answered by
// the kernel, which remembers the attributes of a mount whose process is dead.
func reach(path string) error {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_STATX_FORCE_SYNC, unix.STATX_BASIC_STATS, &st)
	if err == nil {
		return nil
	}
	return &os.PathError{Op: "stat", Path: path, Err: err}
}

// abortLater returns a function that ends the kernel's side of a detached mount, if that is
// allowed: programs with open files get ENOTCONN at once. It must be called before the mount is
// detached: after that its number may be reused.
func abortLater(device uint64) (abort func()) {
	c, err := mounttable.OpenConnection(mounttable.Device(device))
	if err != nil {
		return func() {}
	}
	return func() {
		_ = c.Abort()
		c.Close()
	}
}

// pointsOf lists the visible mount points of the mount with that device number. It reads the
// kernel's table and does not touch the mount.
func pointsOf(_ string, device uint64) ([]string, error) {
	mounts, err := mounttable.Own()
	return mounttable.Points(mounts, mounttable.Device(device)), err
}

// watchTable closes lost when the mount is nowhere in this process's mount namespace any more: a
// lazy unmount tells the server nothing, and the kernel keeps a mount that is in use or that has
// copies in other namespaces.
func (m *Mounted) watchTable(stop <-chan struct{}) error {
	device, gone := mounttable.Device(m.device), false
	return mounttable.Watch(stop, func() {
		mounts, err := mounttable.Own()
		if !gone && err == nil && !mounttable.Has(mounts, device) {
			gone = true
			close(m.lost)
		}
	})
}

// quietPoll makes the kernel learn that nothing here can be polled, by a system call that Go's
// scheduler knows to be slow: its network poller asks by one that it does not, and would wait for
// itself if this process read its own mount.
func quietPoll(mountpoint string) error {
	// go-fuse answers for this name.
	fd, err := unix.Open(filepath.Join(mountpoint, ".go-fuse-epoll-hack"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open on mount: %w", err)
	}
	_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	return unix.Close(fd)
}

// warnTimeouts logs limits that would end reads which wait for peers.
func warnTimeouts(log *slog.Logger) {
	for _, name := range []string{"default_request_timeout", "max_request_timeout"} {
		value, err := os.ReadFile("/proc/sys/fs/fuse/" + name)
		if err != nil {
			continue
		}
		if s := strings.TrimSpace(string(value)); s != "0" {
			log.Warn("the kernel ends the whole mount when a read takes too long", "sysctl", "fs.fuse."+name, "seconds", s)
		}
	}
}
