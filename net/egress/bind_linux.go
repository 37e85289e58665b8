package egress

import "golang.org/x/sys/unix"

// canBind: unprivileged since Linux 5.7, for a socket that is not bound yet.
const canBind = true

func bindTo(fd int, _, name string) error {
	return unix.BindToDevice(fd, name)
}
