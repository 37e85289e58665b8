//go:build linux

package harness

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Patience is how long anything may take that is not hung. It is long because
// machines are slow, and no test waits for it to pass.
const Patience = 3 * time.Minute

// Command is a program that a test runs.
type Command struct {
	Name string   // program, or path
	Args []string // without the name
	Dir  string   // working directory, "" for the test's
	Env  []string // more variables
	User *syscall.Credential
	host string // process in whose network it runs; "": ours
	// quiet keeps it out of the log of a failed test, if it did what it should.
	Quiet bool
	// openStdin gives it a standard input that never ends, for programs that
	// take the end of it for a wish to stop; others get an empty one.
	OpenStdin bool
}

// Process is a command that runs. Its test kills it at the latest at its end.
type Process struct {
	T      testing.TB
	What   string // for messages
	Cmd    *exec.Cmd
	quiet  bool
	Stdout *output
	Stderr *output
	races  string        // where the race detector of a Go program writes
	Done   chan struct{} // closed when the process has ended
	Err    error         // of Wait; set before done is closed
}

var processCount atomic.Int64

// Start runs the command in a process group of its own. On a failed test its
// last lines are shown.
func (c Command) Start(t testing.TB) *Process {
	t.Helper()
	what := filepath.Base(c.Name) + " " + firstOf(c.Args)
	if c.host != "" {
		c.Args = slices.Concat([]string{"--net=/proc/" + c.host + "/ns/net", c.Name}, c.Args)
		c.Name = "nsenter"
	}
	p := &Process{
		T: t, What: what, quiet: c.Quiet, Stdout: NewOutput(), Stderr: NewOutput(),
		races: filepath.Join(Env.scratch, fmt.Sprintf("race-%d", processCount.Add(1))), Done: make(chan struct{}),
	}
	p.Cmd = exec.Command(c.Name, c.Args...)
	p.Cmd.Dir = c.Dir
	p.Cmd.Env = slices.Concat(os.Environ(), []string{
		"TORRENTFS_DISABLE_DHT=1", "TORRENTFS_DISABLE_LSD=1", "TORRENTFS_DISABLE_PORTMAP=1", // nothing goes beyond this host
		"TORRENTFS_PROXY=", "TORRENTFS_BIND_INTERFACE=",
		"LC_ALL=C.UTF-8", "GORACE=atexit_sleep_ms=0 exitcode=66 log_path=" + p.races,
	}, c.Env)
	p.Cmd.Stdout, p.Cmd.Stderr = p.Stdout, p.Stderr
	if c.OpenStdin {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close() //nolint:errcheck // the process has its own
		t.Cleanup(func() { _ = w.Close() })
		p.Cmd.Stdin = r
	}
	p.Cmd.WaitDelay = 5 * time.Second // for a child of it that keeps the pipes
	p.Cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Credential: c.User}
	if err := p.Cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", p.What, err)
	}
	go func() {
		p.Err = p.Cmd.Wait()
		p.Stdout.end()
		p.Stderr.end()
		close(p.Done)
	}()
	t.Cleanup(p.cleanUp)
	return p
}

func firstOf(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

// cleanUp ends the process, if need be the hard way, and shows what it said if
// the test failed.
func (p *Process) cleanUp() {
	_ = syscall.Kill(-p.Cmd.Process.Pid, syscall.SIGKILL) // the whole group; most often nobody is left
	select {
	case <-p.Done:
	case <-time.After(Patience):
		p.T.Errorf("%s: process %d cannot be killed", p.What, p.Cmd.Process.Pid)
	}
	p.reportRaces()
	if p.T.Failed() && !(p.quiet && (p.Err == nil || firstOf(p.Cmd.Args) == "unshare")) {
		p.T.Logf("%s ended with %v\n%q\n%s%s", p.What, p.Err, p.Cmd.Args, p.Stdout.Tail(20), p.Stderr.Tail(40))
	}
}

// reportRaces fails the test if the race detector had something to say in the
// process or in one that it started.
func (p *Process) reportRaces() {
	reports, _ := filepath.Glob(p.races + ".*")
	for _, name := range reports {
		text, err := os.ReadFile(name)
		p.T.Errorf("%s: race detector: %s %v", p.What, text, err)
	}
}

// Signal sends a signal to the process alone.
func (p *Process) Signal(s syscall.Signal) {
	p.T.Helper()
	if err := p.Cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.T.Fatalf("%s: send %v: %v", p.What, s, err)
	}
}

// Wait waits until the process has ended and returns its exit code, -1 for a
// signal. A process that does not end fails the test.
func (p *Process) Wait() int {
	p.T.Helper()
	select {
	case <-p.Done:
		return p.Cmd.ProcessState.ExitCode()
	case <-time.After(Patience):
		p.T.Fatalf("%s: still running after %v", p.What, Patience)
		return -1
	}
}

// Running reports whether the process has not ended yet.
func (p *Process) Running() bool {
	select {
	case <-p.Done:
		return false
	default:
		return true
	}
}

// Succeed waits until the process has ended and fails the test unless it went well.
func (p *Process) Succeed() *Process {
	p.T.Helper()
	if code := p.Wait(); code != 0 {
		p.T.Fatalf("%s: exit code %d, %v\n%s", p.What, code, p.Err, p.Stderr.Tail(20))
	}
	return p
}

// Run runs a command that must succeed, and returns what it wrote to its
// standard output.
func (c Command) Run(t testing.TB) string {
	t.Helper()
	return c.Start(t).Succeed().Stdout.Text()
}

// Tool is a command of a program, by name.
func Tool(name string, args ...string) Command { return Command{Name: name, Args: args} }

// Torrentfs is a command of the program under test.
func Torrentfs(t testing.TB, args ...string) Command {
	t.Helper()
	return Command{Name: Env.Binary, Args: args, Env: HomeIn(Scratch(t))}
}

// HomeIn keeps what a program writes for its user inside dir.
func HomeIn(dir string) []string {
	return []string{
		"HOME=" + dir, "XDG_CACHE_HOME=" + filepath.Join(dir, "cache"), "XDG_STATE_HOME=" + filepath.Join(dir, "state"),
		"XDG_CONFIG_HOME=" + filepath.Join(dir, "config"), "XDG_DATA_HOME=" + filepath.Join(dir, "data"),
	}
}

// Eventually waits for what cannot be waited for in another way.
func Eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(Patience)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("not so after %v: %s", Patience, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// processesOf lists the processes that run a program.
func processesOf(binary string) ([]int, error) {
	return processesWith("exe", func(target string) bool { return strings.TrimSuffix(target, " (deleted)") == binary })
}

// processesBeside lists the other processes in a process's network namespace.
func processesBeside(pid int) ([]int, error) {
	own, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return nil, err
	}
	pids, err := processesWith("ns/net", func(target string) bool { return target == own })
	return slices.DeleteFunc(pids, func(p int) bool { return p == pid }), err
}

// processesWith lists the processes of which a link in /proc leads to the right place.
func processesWith(link string, right func(target string) bool) ([]int, error) {
	names, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, name := range names {
		target, err := os.Readlink(filepath.Join(name, link))
		if err != nil || !right(target) {
			continue // most often it has ended meanwhile
		}
		if pid, err := strconv.Atoi(filepath.Base(name)); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

func kill(pid int) error { return syscall.Kill(pid, syscall.SIGKILL) }

// Quit ends a client, whatever it thinks of it.
func (p *Process) Quit() {
	p.T.Helper()
	p.Signal(9)
	p.Wait()
}

// Usage is what a process holds.
type Usage struct {
	Descriptors, Threads int
	Memory               int64 // resident, bytes
	Children             string
}

// Usage reads what the process holds now.
func (p *Process) Usage() (u Usage) {
	p.T.Helper()
	proc := fmt.Sprintf("/proc/%d", p.Cmd.Process.Pid)
	fds, err := os.ReadDir(proc + "/fd")
	if err != nil {
		p.T.Fatal(err)
	}
	status, err := os.ReadFile(proc + "/status")
	if err != nil {
		p.T.Fatal(err)
	}
	u.Descriptors = len(fds)
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		number := strings.TrimSuffix(strings.TrimSpace(value), " kB")
		switch name {
		case "Threads":
			u.Threads, err = strconv.Atoi(number)
		case "VmRSS":
			u.Memory, err = strconv.ParseInt(number, 10, 64)
			u.Memory <<= 10
		}
		if err != nil {
			p.T.Fatal(err)
		}
	}
	tasks, _ := filepath.Glob(proc + "/task/*/children")
	for _, name := range tasks {
		text, _ := os.ReadFile(name)
		u.Children += string(text)
	}
	return u
}
