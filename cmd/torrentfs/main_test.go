package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	testscript.Main(leakChecked{m}, map[string]func(){"torrentfs": main})
}

// leakChecked fails the tests if they leave goroutines behind.
type leakChecked struct{ m *testing.M }

func (l leakChecked) Run() int {
	code := l.m.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, "goleak:", err)
		return 1
	}
	return code
}

// TestScripts runs the program as its users do: command lines, what they
// print, and their exit codes.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               setupScript,
		Condition:           scriptCondition,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":    scriptExits,
			"random":   scriptRandom,
			"damage":   scriptDamage,
			"mounted":  scriptMounted,
			"oneline":  scriptOneLine,
			"waitgrep": scriptWaitGrep,
		},
	})
}

// setupScript gives each script directories of its own and two ports.
func setupScript(env *testscript.Env) error {
	for _, name := range []string{"PORT1", "PORT2"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer l.Close() //nolint:errcheck // only asked for its port
		env.Setenv(name, strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	}
	home := filepath.Join(env.WorkDir, "home")
	env.Setenv("HOME", home)
	env.Setenv("TORRENTFS_DISABLE_DHT", "1") // nothing here goes beyond this host
	env.Setenv("TORRENTFS_DISABLE_LSD", "1")
	env.Setenv("TORRENTFS_DISABLE_PORTMAP", "1")
	env.Setenv("XDG_CACHE_HOME", filepath.Join(home, ".cache"))
	env.Setenv("XDG_STATE_HOME", filepath.Join(home, ".state"))
	env.Setenv("TMPDIR", env.WorkDir)
	// The race detector otherwise sleeps for a second at the end of each process.
	env.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	env.Defer(func() { // whatever a failed script has left mounted
		_ = exec.Command("fusermount3", "-u", "-z", "-q", filepath.Join(env.WorkDir, "mnt")).Run()
	})
	return os.MkdirAll(home, 0o700)
}

func scriptCondition(cond string) (bool, error) {
	if cond != "fuse" {
		return false, fmt.Errorf("unknown condition %q", cond)
	}
	if os.Getenv("TORRENTFS_SKIP_FUSE") == "1" {
		return false, nil
	}
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		return false, fmt.Errorf("FUSE IS MISSING, so mounts cannot be tested (TORRENTFS_SKIP_FUSE=1 skips them): %w", err)
	}
	return true, f.Close()
}

// scriptExits runs a command and wants exactly this exit code: exits 3 torrentfs info x.
func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARGUMENT...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	code := 0
	var ee *exec.ExitError
	switch err := ts.Exec(args[1], args[2:]...); {
	case errors.As(err, &ee):
		code = ee.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if code != want {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
}

// scriptOneLine wants the last command's standard error to be one line:
// oneline.
func scriptOneLine(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: oneline")
	}
	text := ts.ReadFile("stderr")
	if n := len(text); n == 0 || text[n-1] != '\n' || countLines(text) != 1 {
		ts.Fatalf("standard error is not one line: %q", text)
	}
}
