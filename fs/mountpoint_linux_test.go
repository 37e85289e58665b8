package fs_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"torrentfs/fs"
)

// What a plain user may not mount on is said in words, and not by an exit code of fusermount3.
func TestPlainUserMountpointAsRoot(t *testing.T) {
	needRoot(t)
	base := t.TempDir()
	for dir := base; dir != "/" && dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	theirs, own, closed := filepath.Join(base, "theirs"), filepath.Join(base, "own"), filepath.Join(base, "closed")
	shared, locked := filepath.Join(base, "shared"), filepath.Join(base, "locked")
	err := errors.Join(os.Mkdir(theirs, 0o755), os.Mkdir(own, 0o755), os.Chown(own, 65534, 65534),
		os.MkdirAll(filepath.Join(closed, "below"), 0o700), os.Mkdir(shared, 0o777), os.Chmod(shared, 0o777|os.ModeSticky),
		os.Mkdir(locked, 0o555), os.Chown(locked, 65534, 65534))
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(base, "fs.test")
	if out, err := exec.Command("cp", self, copied).CombinedOutput(); err != nil {
		t.Fatalf("copy test: %s", out)
	}
	cmd := exec.Command(copied, theirs, own, filepath.Join(closed, "below"), shared, locked)
	cmd.Env = append(os.Environ(), "TORRENTFS_TEST_ROLE=mountpoints")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534, NoSetGroups: true}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	lines := strings.Split(string(out), "\n")
	for i, want := range []string{
		"belongs to user 0 (choose", "<nil>", "permission denied (you may not enter", "belongs to user 0 (choose",
		"that they may write to: permission denied (choose",
	} {
		if !strings.Contains(lines[i], want) {
			t.Errorf("directory %d: got %q, want %q", i, lines[i], want)
		}
	}
}

// mountpointsMain prints for each argument whether it can be mounted on.
func mountpointsMain() {
	for _, path := range os.Args[1:] {
		_, err := fs.CheckMountpoint(context.Background(), path, slog.New(slog.DiscardHandler))
		fmt.Println(err)
	}
}
