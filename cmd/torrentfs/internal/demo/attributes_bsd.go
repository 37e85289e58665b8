//go:build darwin || freebsd

package demo

import "syscall"

// attributes puts a process of the demo into a group of its own, so that
// Ctrl-C reaches the demo alone, which stops them in order.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
