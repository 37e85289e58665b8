package fs

import (
	"bytes"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// fatalSignalPending reports whether a signal that ends the process waits for the thread pid. A thread that cannot be
// seen (it is gone, or lives in a foreign pid namespace) counts as dying: a program that sees EINTR is better than one
// that cannot be killed.
func fatalSignalPending(pid uint32) bool {
	if pid == 0 {
		return true
	}
	status, err := os.ReadFile("/proc/" + strconv.FormatUint(uint64(pid), 10) + "/status")
	if err != nil {
		return true
	}
	return fatalIn(status)
}

// threadGone reports whether the thread pid has ended. One in a foreign pid namespace is taken to live.
func threadGone(pid uint32) bool {
	if pid == 0 {
		return false
	}
	stat, err := os.ReadFile("/proc/" + strconv.FormatUint(uint64(pid), 10) + "/stat")
	if err != nil {
		return true
	}
	// The name is in parentheses and may hold anything; the state follows it: Z and X are the dead.
	_, after, ok := bytes.Cut(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" "))
	return ok && len(after) > 0 && (after[0] == 'Z' || after[0] == 'X')
}

// fatalIn decides by the text of /proc/<pid>/status.
func fatalIn(status []byte) bool {
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
	kill := signalBit(unix.SIGKILL)
	if pending&kill != 0 {
		return true
	}
	return pending&^(blocked|ignored|caught|harmless) != 0
}

func signalBit(s unix.Signal) uint64 { return 1 << (s - 1) }

// harmless are the signals that by default stop, continue, or do nothing.
const harmless = 1<<(unix.SIGCHLD-1) | 1<<(unix.SIGCONT-1) | 1<<(unix.SIGURG-1) | 1<<(unix.SIGWINCH-1) |
	1<<(unix.SIGSTOP-1) | 1<<(unix.SIGTSTP-1) | 1<<(unix.SIGTTIN-1) | 1<<(unix.SIGTTOU-1)
