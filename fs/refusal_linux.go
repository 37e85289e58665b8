package fs

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// privileges is what decides who may mount.
type privileges struct {
	root       bool
	mayMount   bool // CAP_SYS_ADMIN was not taken from us and from all that we start, as in a container
	noNewPrivs bool // set-uid programs, fusermount3 first of all, gain nothing
}

func ownPrivileges() privileges {
	bound, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, unix.CAP_SYS_ADMIN, 0, 0, 0)
	noNew, _ := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	return privileges{root: os.Geteuid() == 0, mayMount: err != nil || bound == 1, noNewPrivs: noNew == 1}
}

// explainRefusal adds to the refusal of a mount what to do about it, if that is known.
func explainRefusal(err error) error { return ownPrivileges().explain(err) }

func (p privileges) explain(err error) error {
	switch {
	case errors.Is(err, syscall.EPERM) && p.root && p.mayMount:
		return err // tried again with fusermount3
	case !p.mayMount:
		return fmt.Errorf("%w: no mounting in this container: it was started without the capability SYS_ADMIN "+
			"(--cap-add SYS_ADMIN, for Docker also --security-opt apparmor=unconfined): %w", ErrNoFUSE, err)
	case p.noNewPrivs && !p.root:
		return fmt.Errorf("%w: fusermount3 gains no privilege, because no_new_privs is set (NoNewPrivileges= in a unit, "+
			"--security-opt no-new-privileges in a container): %w", ErrNoFUSE, err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%w: a security policy forbids it, such as AppArmor's for containers "+
			"(--security-opt apparmor=unconfined): %w", ErrNoFUSE, err)
	}
	return err
}
