package fs

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
)

// The error of a refused mount explains what to change.
func TestRefusalsAreExplained(t *testing.T) {
	refused := func(errno syscall.Errno) error { return os.NewSyscallError("mount", errno) }
	helper := errors.New("fusermount exited with code 256")
	for _, c := range []struct {
		p    privileges
		err  error
		want string // "" leaves the error as it is
	}{
		{privileges{root: true, mayMount: true}, refused(syscall.EPERM), ""},
		{privileges{root: true, mayMount: true}, refused(syscall.EINVAL), ""},
		{privileges{root: true, mayMount: true}, refused(syscall.EACCES), "apparmor=unconfined"},
		{privileges{root: true}, helper, "--cap-add SYS_ADMIN"},
		{privileges{}, helper, "--cap-add SYS_ADMIN"},
		{privileges{mayMount: true, noNewPrivs: true}, helper, "NoNewPrivileges="},
		{privileges{mayMount: true}, helper, ""},
	} {
		got := c.p.explain(c.err)
		if !errors.Is(got, c.err) {
			t.Errorf("%+v: %v hides %v", c.p, got, c.err)
		}
		if told := errors.Is(got, ErrNoFUSE); told != (c.want != "") || !strings.Contains(got.Error(), c.want) {
			t.Errorf("%+v: %v, want %q in it", c.p, got, c.want)
		}
	}
}
