package fs_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// copyOf copies a program, so that a test can give it any name.
func copyOf(t *testing.T, program, name string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skip(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(out, data, 0o755); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	return out
}

// A program on the list opens complete files alone. It is known by its name, however long, and told
// of once.
func TestDenyReaders(t *testing.T) {
	const long = "localsearch-extractor-3" // the kernel keeps 15 bytes of it
	s := startServer(t, serverConfig{
		Files:       []fileConfig{{Path: "here", Size: 100}, {Path: "missing", Size: 100, Missing: true}, {Path: "empty"}},
		DenyReaders: []string{"tumblerd", long, "worker:thumbnail.so"},
	})
	for _, c := range []struct {
		program string
		args    []string // before the file
		file    string
		denied  bool
	}{
		{"tumblerd", nil, "here", false},
		{"tumblerd", nil, "empty", false},
		{"tumblerd", nil, "missing", true},
		{"tumblerd", nil, "missing", true},
		{long, nil, "missing", true},
		{"localsearch-ext", nil, "here", false},
		{"worker", []string{s.path("here")}, "here", false},
		{"worker", []string{"/usr/lib/thumbnail.so"}, "missing", true},
	} {
		args := append(append([]string{}, c.args...), s.path(c.file))
		out, _ := exec.Command(copyOf(t, "cat", c.program), args...).CombinedOutput()
		if got := strings.Contains(string(out), "Permission denied"); got != c.denied {
			t.Errorf("%s %v: denied %v, want %v", c.program, c.args, got, c.denied)
		}
	}
	// A program that shares only the first bytes of a name may read.
	blocked := exec.Command(copyOf(t, "cat", "tumblerd2"), s.path("missing"))
	if err := blocked.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(deadline); s.stats().Waiting == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a program that is on no list does not get to wait")
		}
	}
	if err := blocked.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = blocked.Wait()
	if _, err := os.ReadFile(s.path("here")); err != nil {
		t.Error(err)
	}
}

// The errno is not EIO, after which programs would try again.
func TestDeniedReaderGetsEACCES(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := startServer(t, serverConfig{
		Files:       []fileConfig{{Path: "missing", Size: 100, Missing: true}},
		DenyReaders: []string{filepath.Base(self)},
	})
	if _, err := os.Open(s.path("missing")); !errors.Is(err, syscall.EACCES) {
		t.Errorf("open: %v, want EACCES", err)
	}
}
