//go:build linux

package harness

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// Need fails the test if one of the programs is not installed.
func Need(t testing.TB, programs ...string) {
	t.Helper()
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			missing(t, program)
		}
	}
}

// missing ends the test: a failure, because a test that nobody notices to be
// left out protects nobody, unless that was asked for.
func missing(t testing.TB, program string) {
	t.Helper()
	const format = "%s is not installed: scripts/setup.sh test installs it"
	if os.Getenv("TORRENTFS_SKIP_PROGRAMS") == "1" {
		t.Skipf(format, program)
	}
	t.Fatalf(format+" (TORRENTFS_SKIP_PROGRAMS=1 skips)", program)
}

// python finds a Python that has libtorrent: the first one in PATH need not
// be Debian's.
var python = sync.OnceValue(func() string {
	for _, name := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(name, "-c", "import libtorrent").Run() == nil {
			return name
		}
	}
	return ""
})

func NeedPython(t testing.TB) string {
	t.Helper()
	if python() == "" {
		missing(t, "libtorrent for Python")
	}
	return python()
}

// TestData is a file of the harness, by its path from a package of tests.
func TestData(name string) string { return filepath.Join("..", "harness", "testdata", name) }
