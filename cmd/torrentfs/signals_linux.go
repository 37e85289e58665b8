package main

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// reservedSignal is the first real-time signal of glibc, which kill(1) calls
// RTMIN. Go's runtime keeps it for another C library and lets nobody handle it,
// so it would end the process at once.
const reservedSignal = 34

// ignoreReserved keeps RTMIN from ending the process.
func ignoreReserved() {
	const ignore = 1 // SIG_IGN
	var action struct {
		handler, flags, restorer uintptr
		mask                     uint64
	}
	action.handler = ignore
	// An error means that RTMIN ends us as before.
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, reservedSignal, uintptr(unsafe.Pointer(&action)), 0, unsafe.Sizeof(action.mask), 0, 0)
}
