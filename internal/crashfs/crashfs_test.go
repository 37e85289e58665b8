package crashfs

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"testing"

	"torrentfs/cache/vfs"
)

func write(t *testing.T, f *FS, name, text string) vfs.File {
	t.Helper()
	h, err := f.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.WriteAt([]byte(text), 0); err != nil {
		t.Fatal(err)
	}
	return h
}

// read returns a file's content, "-" if there is none.
func read(t *testing.T, f *FS, name string) string {
	t.Helper()
	h, err := f.OpenFile(name, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return "-"
	}
	if err != nil {
		t.Fatal(err)
	}
	st, err := h.Stat()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, st.Size)
	if _, err := h.ReadAt(b, 0); err != nil && len(b) > 0 {
		t.Fatal(err)
	}
	return string(b)
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestForgets(t *testing.T) {
	f := New()
	h := write(t, f, "a", "old")
	ok(t, h.Sync())
	if got := read(t, f.Crash(nil), "a"); got != "-" {
		t.Errorf("a name that was not synced: %q", got)
	}
	ok(t, f.SyncDir("."))
	_, err := h.WriteAt([]byte("newer"), 0)
	ok(t, err)
	if got := read(t, f.Crash(nil), "a"); got != "old" {
		t.Errorf("data that was not synced: %q", got)
	}
	if got := read(t, f.Kill(), "a"); got != "newer" {
		t.Errorf("after a kill: %q", got)
	}
	ok(t, h.Sync())
	ok(t, f.Rename("a", "b"))
	c := f.Crash(nil)
	if read(t, c, "a") != "newer" || read(t, c, "b") != "-" {
		t.Errorf("a rename that was not synced: a %q, b %q", read(t, c, "a"), read(t, c, "b"))
	}
	ok(t, f.SyncDir("."))
	c = f.Crash(nil)
	if read(t, c, "a") != "-" || read(t, c, "b") != "newer" {
		t.Errorf("a rename that was synced: a %q, b %q", read(t, c, "a"), read(t, c, "b"))
	}
	ok(t, f.Remove("b"))
	if read(t, f.Crash(nil), "b") != "newer" {
		t.Error("a removal that was not synced")
	}
}

// With randomness, each of what may survive does at times.
func TestKeepsAnyPart(t *testing.T) {
	f := New()
	h := write(t, f, "a", "old")
	ok(t, h.Sync())
	ok(t, f.SyncDir("."))
	_, err := h.WriteAt([]byte("new"), 0)
	ok(t, err)
	write(t, f, "b", "b")
	seen := make(map[string]bool)
	for seed := range uint64(50) {
		c := f.Crash(rand.New(rand.NewPCG(seed, 0)))
		seen[read(t, c, "a")+" "+read(t, c, "b")[:min(1, len(read(t, c, "b")))]] = true
	}
	for _, want := range []string{"old -", "new -", "old b", "new b", "new "} {
		if !seen[want] {
			t.Errorf("%q never comes of it: %v", want, seen)
		}
	}
}

func TestCutAndInject(t *testing.T) {
	f := New()
	h := write(t, f, "a", "1")
	bad := errors.New("bad")
	f.Inject(func(op Op) error {
		if op == (Op{"sync", "a"}) {
			return bad
		}
		return nil
	})
	if err := h.Sync(); !errors.Is(err, bad) {
		t.Errorf("injected: %v", err)
	}
	f.Inject(nil)
	f.CutAt(2, rand.New(rand.NewPCG(1, 1)))
	ok(t, h.Sync())
	if !f.Died().IsZero() {
		t.Error("dead too early")
	}
	for range 2 {
		if err := f.SyncDir("."); !errors.Is(err, ErrCut) {
			t.Errorf("after the cut: %v", err)
		}
	}
	if f.Died().IsZero() {
		t.Error("not dead")
	}
	if got := read(t, f.Crash(nil), "a"); got != "-" {
		t.Errorf("the operation of the cut was done: %q", got)
	}
}

// What a failed sync costs: it reads as the loss says, the next sync works, and
// a crash shows what was lost. What is written again is there.
func TestFailedSyncLoses(t *testing.T) {
	for _, c := range []struct {
		loss         Loss
		reads, crash string
	}{
		{KeepsDirty, "newer", "newer"},
		{CallsClean, "newer", "older"},
		{Reverts, "older", "older"},
	} {
		for _, kind := range []string{"sync", "syncall"} {
			f := New()
			f.OnFailedSync(c.loss)
			h := write(t, f, "a", "older")
			sync := map[string]func() error{"sync": h.Sync, "syncall": f.SyncAll}[kind]
			ok(t, f.SyncAll())
			write(t, f, "a", "newer")
			bad := errors.New("bad")
			f.Inject(func(op Op) error {
				if op.Kind == kind {
					return bad
				}
				return nil
			})
			if err := sync(); !errors.Is(err, bad) {
				t.Errorf("injected: %v", err)
			}
			f.Inject(nil)
			ok(t, sync())
			if now, then := read(t, f, "a"), read(t, f.Crash(nil), "a"); now != c.reads || then != c.crash {
				t.Errorf("loss %d, %s: reads %q, after a crash %q", c.loss, kind, now, then)
			}
			write(t, f, "a", "again")
			ok(t, sync())
			if got := read(t, f.Crash(nil), "a"); got != "again" {
				t.Errorf("loss %d, %s: written again, after a crash %q", c.loss, kind, got)
			}
		}
	}
}
