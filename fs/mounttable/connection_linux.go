package mounttable

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Connection is the kernel's side of a FUSE mount, as /sys/fs/fuse/connections shows it to root and
// to the user who mounted. The kernel may reuse the number of a mount that is gone; a Connection
// always stands for the same mount.
type Connection struct{ dir int }

// OpenConnection opens the connection of a mount. Its errors wrap [errors.ErrUnsupported] if it
// cannot be seen. The caller closes it.
func OpenConnection(device string) (*Connection, error) {
	_, minor, _ := strings.Cut(device, ":")
	dir, err := unix.Open("/sys/fs/fuse/connections/"+minor, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open FUSE connection %s: %w", minor, errors.Join(errors.ErrUnsupported, err))
	}
	return &Connection{dir}, nil
}

// Close keeps the mount as it is.
func (c *Connection) Close() { _ = unix.Close(c.dir) }

// Gone reports whether the kernel has released the mount: it is no longer in use.
func (c *Connection) Gone() bool {
	return errors.Is(unix.Faccessat(c.dir, "abort", unix.F_OK, 0), unix.ENOENT)
}

// Abort ends the mount even if it is in use: all further requests to it fail. The server may hang
// or be dead.
func (c *Connection) Abort() error {
	fd, err := unix.Openat(c.dir, "abort", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err == nil {
		_, err = unix.Write(fd, []byte("1"))
		err = errors.Join(err, unix.Close(fd))
	}
	if err != nil {
		return fmt.Errorf("abort FUSE connection: %w", err)
	}
	return nil
}
