package fs

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

func TestFatalSignals(t *testing.T) {
	const (
		intr = 1 << (unix.SIGINT - 1)
		kill = 1 << (unix.SIGKILL - 1)
		urg  = 1 << (unix.SIGURG - 1)
		tstp = 1 << (unix.SIGTSTP - 1)
		rt   = 1 << 33
	)
	for name, c := range map[string]struct {
		thread, process, blocked, ignored, caught uint64
		want                                      bool
	}{
		"nothing":              {},
		"kill":                 {thread: kill, want: true},
		"kill of the process":  {process: kill, want: true},
		"kill cannot be held":  {thread: kill, blocked: ^uint64(0), want: true},
		"interrupt":            {process: intr, want: true},
		"interrupt, caught":    {process: intr, caught: intr},
		"interrupt, ignored":   {process: intr, ignored: intr},
		"interrupt, blocked":   {thread: intr, blocked: intr},
		"Go's preemption":      {thread: urg, caught: urg},
		"urgent data":          {thread: urg},
		"stop":                 {thread: tstp},
		"real time":            {thread: rt, want: true},
		"one caught, one not":  {thread: urg, process: intr, caught: urg, want: true},
		"caught, another held": {process: intr, caught: urg, want: true},
	} {
		status := fmt.Sprintf("Name:\tcat\nState:\tS (sleeping)\nSigQ:\t0/7\nSigPnd:\t%016x\nShdPnd:\t%016x\nSigBlk:\t%016x\n"+
			"SigIgn:\t%016x\nSigCgt:\t%016x\nCapInh:\t0000000000000000\n", c.thread, c.process, c.blocked, c.ignored, c.caught)
		if got := fatalIn([]byte(status)); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if !fatalSignalPending(0) {
		t.Error("a process that cannot be seen must count as dying")
	}
	if fatalSignalPending(uint32(unix.Gettid())) {
		t.Error("this thread is said to be dying")
	}
}
