package fs

import (
	"bytes"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// readerStateOf looks at the thread pid, as the kernel numbers it for the process that mounted.
func readerStateOf(pid uint32) readerState {
	if pid == 0 || !procIsOurs() {
		return readerUnknown
	}
	status, err := os.ReadFile("/proc/" + strconv.FormatUint(uint64(pid), 10) + "/status")
	if err != nil {
		return readerGone
	}
	return readerStateIn(status)
}

// procIsOurs reports whether /proc numbers processes as this process's own pid namespace does.
// After "unshare --pid" without a mount of /proc it does not, and a number found there is another
// process.
var procIsOurs = sync.OnceValue(func() bool {
	self, err := os.Readlink("/proc/self")
	return err == nil && self == strconv.Itoa(os.Getpid())
})

// readerStateIn decides by the text of /proc/<pid>/status, see proc_pid_status(5).
func readerStateIn(status []byte) readerState {
	var pending, blocked, ignored, caught uint64
	for line := range bytes.Lines(status) {
		key, value, ok := bytes.Cut(line, []byte(":\t"))
		if !ok {
			continue
		}
		set := func() uint64 {
			v, _ := strconv.ParseUint(string(bytes.TrimSpace(value)), 16, 64)
			return v
		}
		switch string(key) {
		case "State":
			if len(value) > 0 && (value[0] == 'Z' || value[0] == 'X') {
				return readerGone
			}
		case "SigPnd", "ShdPnd":
			pending |= set()
		case "SigBlk":
			blocked = set()
		case "SigIgn":
			ignored = set()
		case "SigCgt":
			caught = set()
		}
	}
	if pending&signalBit(unix.SIGKILL) != 0 {
		return readerEnds
	}
	if pending&^(blocked|ignored)&(asked|^(caught|harmless)) != 0 {
		return readerEnds
	}
	return readerGoesOn
}

func signalBit(s unix.Signal) uint64 { return 1 << (s - 1) }

// asked are the signals that ask a program to end. They end a read also in a program that handles
// them: the handler runs only after the read. Other handled signals do not: runtimes and timers
// send them all the time.
const asked = 1<<(unix.SIGINT-1) | 1<<(unix.SIGTERM-1) | 1<<(unix.SIGHUP-1) | 1<<(unix.SIGQUIT-1)

// harmless are the signals that by default stop, continue, or do nothing.
const harmless = 1<<(unix.SIGCHLD-1) | 1<<(unix.SIGCONT-1) | 1<<(unix.SIGURG-1) | 1<<(unix.SIGWINCH-1) |
	1<<(unix.SIGSTOP-1) | 1<<(unix.SIGTSTP-1) | 1<<(unix.SIGTTIN-1) | 1<<(unix.SIGTTOU-1)
