package fs_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"torrentfs/fs"
)

// Signals that kill free a reader, and its file with it.
func TestSignalsFreeReader(t *testing.T) {
	for name, bounce := range map[string]fs.Bounce{"auto": fs.BounceAuto, "off": fs.BounceOff} {
		for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGKILL} {
			if bounce == fs.BounceOff && sig == syscall.SIGQUIT {
				continue // the kernel waits for a page with all signals but SIGKILL held back, and this one dumps core
			}
			t.Run(name+"/"+sig.String(), func(t *testing.T) {
				s := startServer(t, serverConfig{Bounce: bounce, Files: []fileConfig{{Path: "a", Size: 8 << 20, Missing: true}}})
				cat := exec.Command("cat", s.path("a"))
				if err := cat.Start(); err != nil {
					t.Fatal(err)
				}
				ended := make(chan error, 1)
				go func() { ended <- cat.Wait() }()
				eventually(t, "cat waits", func() bool { return s.stats().Waiting > 0 })
				if err := cat.Process.Signal(sig); err != nil {
					t.Fatal(err)
				}
				must(t, "cat", func() error { <-ended; return nil })
				if got := cat.ProcessState.Sys().(syscall.WaitStatus).Signal(); got != sig {
					t.Errorf("cat ended by %v: %v", got, cat.ProcessState)
				}
				eventually(t, "no read waits", func() bool { return s.stats().Waiting == 0 })
				eventually(t, "the file is closed", func() bool { return s.ask("open") == "0" })
			})
		}
	}
}

// catchingReader reads a file from its beginning, and handles the signals that ask a program to
// end. It prints the error that ended it, and its handler's signal. It is a program of one thread:
// in others, Go's among them, any thread may take the signal, and the one that reads is none the
// wiser, on this file system as on others.
const catchingReader = `
use Fcntl;
$| = 1;
for my $name (qw(INT TERM HUP QUIT)) { $SIG{$name} = sub { $caught = shift } }
sysopen(my $file, $ARGV[0], O_RDONLY | $ARGV[1]) or die "open: $!";
my ($at, $n) = 0;
do { print "at $at\n"; $n = sysread($file, my $data, 64 << 10); $at += $n } while $n;
print $! + 0, " SIG$caught\n";`

// A program that handles the signal sees EINTR, and its handler runs, for each kind of request that
// the read waits for.
func TestHandledRequestsToEndFreeReader(t *testing.T) {
	const missing = 8 << 20
	for name, c := range map[string]struct {
		bounce fs.Bounce
		size   int64
		have   int64
		flags  int
	}{
		"first read":           {size: missing},
		"in order":             {size: missing, have: 2 << 20},
		"small file":           {size: 3000},
		"O_DIRECT":             {size: missing, flags: unix.O_DIRECT},
		"bounced always":       {bounce: fs.BounceOn, size: missing, have: 2 << 20},
		"never bounced":        {bounce: fs.BounceOff, size: missing},
		"in order, no bounces": {bounce: fs.BounceOff, size: missing, have: 2 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			s := startServer(t, serverConfig{Bounce: c.bounce, Files: []fileConfig{{Path: "a", Size: c.size, Missing: true}}})
			s.ask("release 0 %d", c.have)
			for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT} {
				reader := exec.Command("perl", "-e", catchingReader, s.path("a"), strconv.Itoa(c.flags))
				reader.Stderr = os.Stderr
				stdout, err := reader.StdoutPipe()
				if err != nil {
					t.Fatal(err)
				}
				if err := reader.Start(); err != nil {
					t.Fatal(err)
				}
				out := bufio.NewScanner(stdout)
				must(t, "reader", func() error {
					for out.Scan() && out.Text() != fmt.Sprint("at ", c.have) {
					}
					return out.Err()
				})
				eventually(t, "the reader waits", func() bool {
					call, _ := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", reader.Process.Pid))
					return strings.HasPrefix(string(call), fmt.Sprint(unix.SYS_READ, " ")) && s.stats().Waiting > 0
				})
				if err := reader.Process.Signal(sig); err != nil {
					t.Fatal(err)
				}
				last := ""
				must(t, "reader", func() error {
					for out.Scan() {
						last = out.Text()
					}
					return reader.Wait()
				})
				if want := fmt.Sprintf("%d %s", unix.EINTR, unix.SignalName(sig)); last != want {
					t.Errorf("%v: reader got %q, want %q", sig, last, want)
				}
				eventually(t, "no read waits", func() bool { return s.stats().Waiting == 0 })
			}
		})
	}
}

// selfAs is this very binary in another role. The race detector would have it sleep for a second at
// its end.
func selfAs(t *testing.T, role string, env ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(self)
	c.Env = append(append(os.Environ(), "GORACE=atexit_sleep_ms=0", "TORRENTFS_TEST_ROLE="+role), env...)
	return c
}

// timerSignals are what runtimes, timers and terminals send to a program that goes on.
var timerSignals = []syscall.Signal{
	unix.SIGURG, unix.SIGCHLD, unix.SIGALRM, unix.SIGWINCH, unix.SIGPROF, unix.SIGVTALRM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGIO,
}

// signalledReaderMain reads one page with a handler for such signals, and prints what the system
// call answered.
func signalledReaderMain() {
	handled := make(chan os.Signal, 1)
	for _, s := range timerSignals {
		signal.Notify(handled, s)
	}
	fd, err := unix.Open(os.Getenv("TORRENTFS_TEST_FILE"), unix.O_RDONLY, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	b := make([]byte, 4096)
	n, err := unix.Pread(fd, b, 0)
	fmt.Println(n, err, checkBytes(b, 1, 0))
}

// A signal that the reader handles is none of our business: Go programs send themselves SIGURG all
// the time.
func TestHandledSignalsDoNotEndRead(t *testing.T) {
	s := startServer(t, serverConfig{Files: []fileConfig{{Path: "a", Size: 8 << 20, Missing: true}}})
	reader := selfAs(t, "signalled", "TORRENTFS_TEST_FILE="+s.path("a"))
	var out bytes.Buffer
	reader.Stdout, reader.Stderr = &out, &out
	if err := reader.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the reader waits", func() bool { return s.stats().Waiting > 0 })
	// Every thread, as the blocked one is not known.
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", reader.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 * len(timerSignals) {
		for _, task := range tasks {
			tid, _ := strconv.Atoi(task.Name())
			_ = unix.Tgkill(reader.Process.Pid, tid, timerSignals[i%len(timerSignals)])
		}
		time.Sleep(5 * time.Millisecond)
	}
	if got := s.stats().Waiting; got == 0 {
		t.Error("the read ended")
	}
	s.ask("release 0 %d", 8<<20)
	must(t, "reader", reader.Wait)
	if out.String() != "4096 <nil> <nil>\n" {
		t.Errorf("reader got %q", &out)
	}
}

// A killing signal after a handled one is not announced by the kernel; it must free the reader all
// the same.
func TestKillAfterHandledSignal(t *testing.T) {
	s := startServer(t, serverConfig{Files: []fileConfig{{Path: "a", Size: 8 << 20, Missing: true}}})
	reader := selfAs(t, "signalled", "TORRENTFS_TEST_FILE="+s.path("a"))
	if err := reader.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the reader waits", func() bool { return s.stats().Waiting > 0 })
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", reader.Process.Pid))
	for _, task := range tasks {
		tid, _ := strconv.Atoi(task.Name())
		_ = unix.Tgkill(reader.Process.Pid, tid, unix.SIGURG)
	}
	time.Sleep(20 * time.Millisecond)
	if err := reader.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	must(t, "reader", func() error { _ = reader.Wait(); return nil })
	eventually(t, "no read waits", func() bool { return s.stats().Waiting == 0 })
}

// A process that shares a descriptor with one that closes it goes on reading, and sees no EINTR:
// Go's own reads would hide it.
func TestFlushOfSharedHandle(t *testing.T) {
	for name, c := range map[string]struct {
		bounce fs.Bounce
		flags  int
		read   int
	}{
		"auto":         {fs.BounceAuto, 0, 32 << 10},
		"off":          {fs.BounceOff, 0, 32 << 10},
		"direct":       {fs.BounceAuto, unix.O_DIRECT, 32 << 10},
		"direct off":   {fs.BounceOff, unix.O_DIRECT, 32 << 10},
		"single pages": {fs.BounceOff, 0, 4 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			const size = 512 << 10
			s := startServer(t, serverConfig{Bounce: c.bounce, Files: []fileConfig{{Path: "a", Size: size, Missing: true}}})
			f, err := os.OpenFile(s.path("a"), os.O_RDONLY|c.flags, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			fd := int(f.Fd())
			if c.read == 4<<10 {
				_ = unix.Fadvise(fd, 0, 0, unix.FADV_RANDOM)
			}
			done := make(chan error, 1)
			go func() {
				b := alignedBuffer(c.read)
				for off := int64(0); off < size; {
					n, err := unix.Pread(fd, b, off)
					if err == nil && n == 0 {
						err = io.ErrUnexpectedEOF
					}
					if err != nil {
						done <- fmt.Errorf("at %d: %w", off, err)
						return
					}
					if err := checkBytes(b[:n], 1, off); err != nil {
						done <- err
						return
					}
					off += int64(n)
				}
				done <- nil
			}()
			for i := range int64(8) {
				eventually(t, "the reader waits", func() bool { return s.stats().Waiting > 0 || len(done) > 0 })
				dup, err := unix.Dup(fd)
				if err != nil {
					t.Fatal(err)
				}
				must(t, "close", func() error { return unix.Close(dup) })
				s.ask("release 0 %d", (i+1)*size/8-1)
			}
			s.ask("release 0 %d", size)
			must(t, "reader", func() error { return <-done })
		})
	}
}
