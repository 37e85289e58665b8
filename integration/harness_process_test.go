//go:build linux

package integration

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

// patience is how long anything may take that is not hung. It is long because
// machines are slow, and no test waits for it to pass.
const patience = 3 * time.Minute

// command is a program that a test runs.
type command struct {
	name string   // program, or path
	args []string // without the name
	dir  string   // working directory, "" for the test's
	env  []string // more variables
	user *syscall.Credential
	host string // process in whose network it runs; "": ours
	// quiet keeps it out of the log of a failed test, if it did what it should.
	quiet bool
	// openStdin gives it a standard input that never ends, for programs that
	// take the end of it for a wish to stop; others get an empty one.
	openStdin bool
}

// process is a command that runs. Its test kills it at the latest at its end.
type process struct {
	t      testing.TB
	what   string // for messages
	cmd    *exec.Cmd
	quiet  bool
	stdout *output
	stderr *output
	races  string        // where the race detector of a Go program writes
	done   chan struct{} // closed when the process has ended
	err    error         // of Wait; set before done is closed
}

var processCount atomic.Int64

// start runs the command in a process group of its own. On a failed test its
// last lines are shown.
func (c command) start(t testing.TB) *process {
	t.Helper()
	what := filepath.Base(c.name) + " " + firstOf(c.args)
	if c.host != "" {
		c.args = slices.Concat([]string{"--net=/proc/" + c.host + "/ns/net", c.name}, c.args)
		c.name = "nsenter"
	}
	p := &process{
		t: t, what: what, quiet: c.quiet, stdout: newOutput(), stderr: newOutput(),
		races: filepath.Join(env.scratch, fmt.Sprintf("race-%d", processCount.Add(1))), done: make(chan struct{}),
	}
	p.cmd = exec.Command(c.name, c.args...)
	p.cmd.Dir = c.dir
	p.cmd.Env = slices.Concat(os.Environ(), []string{
		"TORRENTFS_DISABLE_DHT=1", "TORRENTFS_DISABLE_LSD=1", "TORRENTFS_DISABLE_PORTMAP=1", // nothing goes beyond this host
		"TORRENTFS_PROXY=", "TORRENTFS_BIND_INTERFACE=",
		"LC_ALL=C.UTF-8", "GORACE=atexit_sleep_ms=0 exitcode=66 log_path=" + p.races,
	}, c.env)
	p.cmd.Stdout, p.cmd.Stderr = p.stdout, p.stderr
	if c.openStdin {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close() //nolint:errcheck // the process has its own
		t.Cleanup(func() { _ = w.Close() })
		p.cmd.Stdin = r
	}
	p.cmd.WaitDelay = 5 * time.Second // for a child of it that keeps the pipes
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Credential: c.user}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", p.what, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		p.stdout.end()
		p.stderr.end()
		close(p.done)
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
func (p *process) cleanUp() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // the whole group; most often nobody is left
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Errorf("%s: process %d cannot be killed", p.what, p.cmd.Process.Pid)
	}
	p.reportRaces()
	if p.t.Failed() && !(p.quiet && (p.err == nil || firstOf(p.cmd.Args) == "unshare")) {
		p.t.Logf("%s ended with %v\n%q\n%s%s", p.what, p.err, p.cmd.Args, p.stdout.tail(20), p.stderr.tail(40))
	}
}

// reportRaces fails the test if the race detector had something to say in the
// process or in one that it started.
func (p *process) reportRaces() {
	reports, _ := filepath.Glob(p.races + ".*")
	for _, name := range reports {
		text, err := os.ReadFile(name)
		p.t.Errorf("%s: race detector: %s %v", p.what, text, err)
	}
}

// signal sends a signal to the process alone.
func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Fatalf("%s: send %v: %v", p.what, s, err)
	}
}

// wait waits until the process has ended and returns its exit code, -1 for a
// signal. A process that does not end fails the test.
func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		p.t.Fatalf("%s: still running after %v", p.what, patience)
		return -1
	}
}

// running reports whether the process has not ended yet.
func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// succeed waits until the process has ended and fails the test unless it went well.
func (p *process) succeed() *process {
	p.t.Helper()
	if code := p.wait(); code != 0 {
		p.t.Fatalf("%s: exit code %d, %v\n%s", p.what, code, p.err, p.stderr.tail(20))
	}
	return p
}

// run runs a command that must succeed, and returns what it wrote to its
// standard output.
func (c command) run(t testing.TB) string {
	t.Helper()
	return c.start(t).succeed().stdout.text()
}

// tool is a command of a program, by name.
func tool(name string, args ...string) command { return command{name: name, args: args} }

// torrentfs is a command of the program under test.
func torrentfs(t testing.TB, args ...string) command {
	t.Helper()
	return command{name: env.binary, args: args, env: homeIn(scratch(t))}
}

// homeIn keeps what a program writes for its user inside dir.
func homeIn(dir string) []string {
	return []string{
		"HOME=" + dir, "XDG_CACHE_HOME=" + filepath.Join(dir, "cache"), "XDG_STATE_HOME=" + filepath.Join(dir, "state"),
		"XDG_CONFIG_HOME=" + filepath.Join(dir, "config"), "XDG_DATA_HOME=" + filepath.Join(dir, "data"),
	}
}

// eventually waits for what cannot be waited for in another way.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("not so after %v: %s", patience, what)
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
