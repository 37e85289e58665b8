package fs

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

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

// A child that has ended and that nobody has waited for is gone; a live one is not.
func TestThreadGone(t *testing.T) {
	if threadGone(uint32(os.Getpid())) {
		t.Error("this very process is said to be gone")
	}
	if threadGone(0) {
		t.Error("a thread of a foreign namespace is said to be gone")
	}
	child := exec.Command("true")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); !threadGone(uint32(child.Process.Pid)); {
		if time.Now().After(end) {
			t.Fatal("a child that has ended is said to live")
		}
	}
	if err := child.Wait(); err != nil {
		t.Fatal(err)
	}
}
