package cache

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"torrentfs/cache/resume"
)

// A second process hears who has the folder, and what for.
func TestLockNamesItsHolder(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("processes are told apart on Linux alone")
	}
	dir := t.TempDir()
	tor := newTorrent(t, 64<<10, entry{path: "a", size: 1})
	s := openStore(t, newCache(t, 0), tor, Options{DataDir: dir, Purpose: "mount on /mnt/film"})
	defer closeStore(t, s)
	refused := func() *LockedError {
		t.Helper()
		_, err := newCache(t, 0).Open(tor.Info, Options{DataDir: dir})
		var locked *LockedError
		if !errors.As(err, &locked) || !errors.Is(err, ErrLocked) {
			t.Fatalf("second Open: %v", err)
		}
		return locked
	}
	if e := refused(); e.PID != os.Getpid() || e.Purpose != "mount on /mnt/film" || !strings.Contains(e.Error(), "(mount on /mnt/film)") {
		t.Errorf("got %+v: %v", e, e)
	}

	// What cannot be certain names nobody.
	lock := filepath.Join(dir, resume.StateDir, tor.Info.Hash.String()+".lock")
	signed, err := os.ReadFile(lock)
	if err != nil {
		t.Fatal(err)
	}
	var dead resume.Owner
	if err := json.Unmarshal(signed, &dead); err != nil {
		t.Fatal(err)
	}
	dead.Started += "1" // the id was given to another since
	stale, err := json.Marshal(dead)
	if err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{"", "{", string(stale), `{"pid":-1,"started":"","purpose":"x"}`, `{"pid":1,"started":"","purpose":"x"}`, strings.Repeat("[", 10_000)} {
		if err := os.WriteFile(lock, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if e := refused(); e.PID != 0 || !strings.Contains(e.Error(), "a running torrentfs") {
			t.Errorf("%.40q: got %+v", content, e)
		}
	}
}
