//go:build darwin || freebsd || netbsd

package vfs

import "syscall"

func otherTimes(st *syscall.Stat_t) (ctime, btime int64) {
	return st.Ctimespec.Nano(), st.Birthtimespec.Nano()
}
