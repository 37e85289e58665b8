package fs

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestSignalsThatEndARead(t *testing.T) {
	const (
		intr = 1 << (unix.SIGINT - 1)
		term = 1 << (unix.SIGTERM - 1)
		hup  = 1 << (unix.SIGHUP - 1)
		quit = 1 << (unix.SIGQUIT - 1)
		kill = 1 << (unix.SIGKILL - 1)
		urg  = 1 << (unix.SIGURG - 1)
		alrm = 1 << (unix.SIGALRM - 1)
		prof = 1 << (unix.SIGPROF - 1)
		usr1 = 1 << (unix.SIGUSR1 - 1)
		tstp = 1 << (unix.SIGTSTP - 1)
		rt   = 1 << 33
	)
	for name, c := range map[string]struct {
		thread, process, blocked, ignored, caught uint64
		want                                      readerState
	}{
		"nothing":                   {},
		"kill":                      {thread: kill, want: readerEnds},
		"kill of the process":       {process: kill, want: readerEnds},
		"kill cannot be held":       {thread: kill, blocked: ^uint64(0), want: readerEnds},
		"interrupt":                 {process: intr, want: readerEnds},
		"interrupt, caught":         {process: intr, caught: intr, want: readerEnds},
		"interrupt thread, caught":  {thread: intr, caught: intr, want: readerEnds},
		"terminate, caught":         {process: term, caught: term | intr, want: readerEnds},
		"hang up, caught":           {process: hup, caught: hup, want: readerEnds},
		"quit, caught":              {process: quit, caught: quit, want: readerEnds},
		"interrupt, ignored":        {process: intr, ignored: intr},
		"interrupt, blocked":        {thread: intr, blocked: intr},
		"caught and blocked":        {process: intr | term, blocked: intr | term, caught: intr | term},
		"Go's preemption":           {thread: urg, caught: urg},
		"timers, caught":            {thread: alrm | prof, caught: alrm | prof},
		"a timer kills by default":  {thread: alrm, want: readerEnds},
		"a user's signal, caught":   {process: usr1, caught: usr1},
		"urgent data":               {thread: urg},
		"stop":                      {thread: tstp},
		"real time":                 {thread: rt, want: readerEnds},
		"real time, caught":         {thread: rt, caught: rt},
		"one harmless, one not":     {thread: urg, process: intr, caught: urg, want: readerEnds},
		"caught, another held back": {process: intr, blocked: term, caught: urg, want: readerEnds},
	} {
		status := fmt.Sprintf("Name:\tcat\nState:\tS (sleeping)\nSigQ:\t0/7\nSigPnd:\t%016x\nShdPnd:\t%016x\nSigBlk:\t%016x\n"+
			"SigIgn:\t%016x\nSigCgt:\t%016x\nCapInh:\t0000000000000000\n", c.thread, c.process, c.blocked, c.ignored, c.caught)
		if got := readerStateIn([]byte(status)); got != c.want {
			t.Errorf("%s: state %v, want %v", name, got, c.want)
		}
	}
	if got := readerStateOf(0); got != readerUnknown {
		t.Errorf("a thread that cannot be seen: state %v", got)
	}
	if got := readerStateOf(uint32(unix.Gettid())); got != readerGoesOn {
		t.Errorf("this thread: state %v", got)
	}
}

// A child that has ended and was not yet waited for is gone; a live one is not.
func TestReaderGone(t *testing.T) {
	if readerStateOf(uint32(os.Getpid())) == readerGone {
		t.Error("this very process is said to be gone")
	}
	child := exec.Command("true")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); readerStateOf(uint32(child.Process.Pid)) != readerGone; {
		if time.Now().After(end) {
			t.Fatal("a child that has ended is said to live")
		}
	}
	if err := child.Wait(); err != nil {
		t.Fatal(err)
	}
	if got := readerStateOf(uint32(child.Process.Pid)); got != readerGone {
		t.Errorf("a child that was waited for: state %v", got)
	}
}
