package demo

import "syscall"

// attributes puts a process of the demo into a group of its own, so that
// Ctrl-C reaches the demo alone, which stops them in order; if the demo is
// killed they are told to stop.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
