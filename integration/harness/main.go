//go:build linux

package harness

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Variables by which the process that builds tells the one that tests.
const (
	binaryVariable  = "TORRENTFS_BINARY"
	scratchVariable = "TORRENTFS_INTEGRATION_SCRATCH"
)

// surroundings are what all tests share. TestMain sets them up; tests only read them.
type surroundings struct {
	Binary  string // the program under test
	scratch string // directory that everything is written below
	Addr    string // address that peers and trackers use
	Private bool   // in namespaces of our own
	NoFUSE  string // why a plain user cannot mount here, "" if it can
}

var Env surroundings

// Main runs the tests of a package: its TestMain calls it.
func Main(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "integration:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// run builds the program and starts over in namespaces, where the tests then run.
func run(m *testing.M) (int, error) {
	if spec := os.Getenv(faultVariable); spec != "" {
		return 0, serveDisk(spec)
	}
	if os.Getenv(scratchVariable) != "" {
		return runTests(m)
	}
	scratch, err := os.MkdirTemp("", "torrentfs-integration-")
	if err != nil {
		return 1, err
	}
	if err := os.Chmod(scratch, 0o755); err != nil { //nolint:gosec // other users' processes must get through
		return 1, err
	}
	code, err := buildAndRun(m, scratch)
	return code, errors.Join(err, os.RemoveAll(scratch))
}

func buildAndRun(m *testing.M, scratch string) (int, error) {
	if _, err := os.Stat("/dev/fuse"); err != nil {
		return 1, fmt.Errorf("FUSE IS MISSING, nothing can be mounted: %w", err)
	}
	binary, err := builtBinary(scratch)
	if err != nil {
		return 1, err
	}
	vars := map[string]string{binaryVariable: binary, scratchVariable: scratch}
	if os.Geteuid() == 0 {
		code, err := againInNamespaces(vars)
		if err == nil {
			return code, nil
		}
		fmt.Fprintln(os.Stderr, "integration: no namespaces of our own, using this machine's loopback:", err)
	}
	for name, value := range vars {
		if err := os.Setenv(name, value); err != nil {
			return 1, err
		}
	}
	return runTests(m)
}

// builtBinary is the program, with the race detector in it: the engine's
// goroutines meet real peers and a real kernel only here.
func builtBinary(scratch string) (string, error) {
	if given := os.Getenv(binaryVariable); given != "" {
		return filepath.Abs(given)
	}
	binary := filepath.Join(scratch, "torrentfs")
	out, err := exec.Command("go", "build", "-race", "-o", binary, "torrentfs/cmd/torrentfs").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build torrentfs: %w\n%s", err, out)
	}
	return binary, nil
}

// runTests runs the tests and then looks for what they left behind.
func runTests(m *testing.M) (int, error) {
	flag.Parse()
	Env = surroundings{Binary: os.Getenv(binaryVariable), scratch: os.Getenv(scratchVariable), Addr: "127.0.0.1"}
	if os.Getenv(namespaceVariable) != "" {
		if err := prepareNamespaces(); err != nil {
			return 1, fmt.Errorf("prepare namespaces: %w", err)
		}
	}
	// The tests wait for other processes more than they compute.
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		if err := f.Value.Set("8"); err != nil {
			return 1, err
		}
	}
	code := m.Run()
	return code, errors.Join(leftoverMounts(), leftoverProcesses())
}

// leftoverMounts detaches and reports mounts below the scratch directory.
func leftoverMounts() error {
	points, err := MountsBelow(Env.scratch)
	if err != nil {
		return err
	}
	for _, p := range points {
		err = errors.Join(err, fmt.Errorf("left mounted: %s", p), Detach(p))
	}
	return err
}

// leftoverProcesses kills and reports processes that run on: those of the
// program, and in a namespace of our own all others as well. A network
// namespace without a name, as ours is, ends with its last process.
func leftoverProcesses() error {
	pids, err := processesOf(Env.Binary)
	if err != nil {
		return err
	}
	if Env.Private {
		others, err := processesBeside(os.Getpid())
		if err != nil {
			return err
		}
		pids = append(pids, others...)
	}
	for _, pid := range pids {
		name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		err = errors.Join(err, fmt.Errorf("left running: process %d, %q", pid, name), kill(pid))
	}
	return err
}
