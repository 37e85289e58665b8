package fs

import "golang.org/x/sys/unix"

// programOf asks the kernel for the name of a process.
func programOf(pid uint32) program {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", int(pid))
	if err != nil || pid == 0 {
		return program{}
	}
	return program{comm: unix.ByteSliceToString(info.Proc.P_comm[:])}
}
