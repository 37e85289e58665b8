package vfs

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// What another process writes is told, what we write is not.
func TestWitness(t *testing.T) {
	dir := t.TempDir()
	h := create(t, open(t, dir), "f")
	w := h.Witness()
	if w == nil {
		t.Skip("fanotify(7) is not to be had: Linux before 5.13, or a filter of system calls")
	}
	name := filepath.Join(dir, "f")
	other := func(script string) {
		t.Helper()
		if out, err := exec.Command("/bin/sh", "-c", script, "sh", name).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", script, err, out)
		}
	}
	last := w.Changes()
	changed := func() bool {
		n := w.Changes()
		defer func() { last = n }()
		return n != last
	}
	for range 100 {
		if _, err := h.WriteAt(make([]byte, 5000), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(name, make([]byte, 5000), 0o600); err != nil {
		t.Fatal(err)
	}
	if changed() {
		t.Error("our own writing is told of")
	}
	other(`cat "$1"`)
	if changed() {
		t.Error("reading is told of")
	}
	for _, script := range []string{`echo x >>"$1"`, `echo y | dd of="$1" conv=notrunc status=none`, `: >"$1"`, `truncate -s 9 "$1"`} {
		other(script)
		if !changed() {
			t.Errorf("%s: not told of", script)
		}
	}
	second := create(t, open(t, dir), "f") // a second descriptor ends without the first
	if second.Witness() == nil {
		t.Error("no witness for a second descriptor")
	}
	_ = second.Close()
	other(`echo x >>"$1"`)
	if !changed() {
		t.Error("not told of after another descriptor was closed")
	}
	_ = h.Close()
	if changed() {
		t.Error("the end is told of as a change")
	}
}

// FuzzWitness: no event of the system, however it looks, makes the reader of
// events panic.
func FuzzWitness(f *testing.F) {
	f.Add(append(append([]byte{52, 0, 0, 0, 3, 0, 24, 0, 10}, make([]byte, 15)...), append([]byte{1, 0, 28, 0}, make([]byte, 24)...)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		all := &witnesses{fd: -1, pid: 1, files: map[fileHandle]*witness{}}
		key, ok := handleOf(b)
		if ok && len(key.handle) > len(b) {
			t.Fatal("a handle longer than the event")
		}
		all.files[key] = &witness{}
		all.take(b)
	})
}
