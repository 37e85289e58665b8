package fs

import (
	"os"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// probePassthrough asks the kernel whether we may hand it backing files. It refuses without
// CAP_SYS_ADMIN in the first user namespace, and before Linux 6.9.
func (f *fileSystem) probePassthrough() error {
	if f.server.KernelSettings().Flags64()&fuse.CAP_PASSTHROUGH == 0 {
		return syscall.ENOTSUP
	}
	fd, err := unix.MemfdCreate("torrentfs-probe", unix.MFD_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("memfd_create", err)
	}
	defer unix.Close(fd)
	id, errno := f.server.RegisterBackingFd(&fuse.BackingMap{Fd: int32(fd)})
	if errno != 0 {
		return errno
	}
	f.server.UnregisterBackingFd(id)
	return nil
}

// registerBacking hands a complete file to the kernel. If the kernel refuses it (a backing file on
// a stacked file system, say) the handle is served by READs.
func (f *fileSystem) registerBacking(h *handle, file *os.File) (id int32, ok bool) {
	conn, err := file.SyscallConn()
	if err != nil {
		return 0, false
	}
	var errno syscall.Errno
	err = conn.Control(func(fd uintptr) {
		id, errno = f.server.RegisterBackingFd(&fuse.BackingMap{Fd: int32(fd)})
	})
	if err == nil && errno == 0 {
		return id, true
	}
	f.log.Debug("kernel refused backing file", "path", f.tree.path(h.id.index()), "err", err, "errno", errno)
	return 0, false
}

func (f *fileSystem) unregisterBacking(id int32) {
	if errno := f.server.UnregisterBackingFd(id); errno != 0 && !f.isClosing() {
		f.log.Warn("release backing file", "err", errno)
	}
}
