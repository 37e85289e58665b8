package vfs

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func open(t *testing.T, dir string) FS {
	t.Helper()
	f, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func create(t *testing.T, f FS, name string) File {
	t.Helper()
	h, err := f.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

// More buffers than one call of the system takes, of any length.
func TestWriteVectorAt(t *testing.T) {
	h := create(t, open(t, t.TempDir()), "f")
	rng := rand.New(rand.NewPCG(1, 1))
	for _, count := range []int{1, 2, 17, 1024, 1025, 3000} {
		var bufs [][]byte
		for range count {
			b := make([]byte, 1+rng.IntN(100))
			for i := range b {
				b[i] = byte(rng.Uint32())
			}
			bufs = append(bufs, b)
		}
		want := bytes.Join(bufs, nil)
		if n, err := h.WriteVectorAt(bufs, 77); n != len(want) || err != nil {
			t.Fatalf("%d buffers: wrote %d of %d: %v", count, n, len(want), err)
		}
		got := make([]byte, len(want))
		if _, err := h.ReadAt(got, 77); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d buffers: %v, or wrong bytes", count, err)
		}
	}
	if err := h.Sync(); err != nil {
		t.Error(err)
	}
}

func TestHoles(t *testing.T) {
	h := create(t, open(t, t.TempDir()), "f")
	if _, _, err := h.NextData(0); err != io.EOF {
		t.Errorf("of an empty file: %v", err)
	}
	const mib = 1 << 20
	if _, err := h.WriteAt(bytes.Repeat([]byte{1}, mib), 4*mib); err != nil {
		t.Fatal(err)
	}
	start, end, err := h.NextData(0)
	if err != nil || end != 5*mib || start != 4*mib && start != 0 { // 0: no holes here
		t.Errorf("data from %d to %d, %v", start, end, err)
	}
	if _, _, err := h.NextData(6 * mib); err != io.EOF {
		t.Errorf("behind the end: %v", err)
	}
	if err := h.PunchHole(4*mib, mib/2); err != nil {
		if errors.Is(err, errors.ErrUnsupported) {
			t.Skip("no holes here")
		}
		t.Fatal(err)
	}
	got := make([]byte, mib)
	if _, err := h.ReadAt(got, 4*mib); err != nil || !bytes.Equal(got[:mib/2], make([]byte, mib/2)) || got[mib/2] != 1 {
		t.Errorf("a punched hole reads wrong: %v", err)
	}
	if st, err := h.Stat(); err != nil || st.Size != 5*mib || st.Ino == 0 {
		t.Errorf("%+v, %v", st, err)
	}
}

func TestNothingLeadsOut(t *testing.T) {
	outside, dir := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "f"), []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"dir": outside, "file": filepath.Join(outside, "f"), "up": "../" + filepath.Base(outside)} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	f := open(t, dir)
	for _, name := range []string{"dir/f", "file", "up/f", "../x", outside + "/f", "dir/new"} {
		if h, err := f.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644); err == nil {
			t.Errorf("%s opens", name)
			_ = h.Close()
		}
	}
	if err := f.Mkdir("dir/new", 0o755); err == nil {
		t.Error("Mkdir through a link works")
	}
	if err := f.Mkdir("d", 0o755); err != nil {
		t.Error(err)
	}
	if h, err := f.OpenFile("d", os.O_RDONLY, 0); err == nil {
		t.Error("a directory opens as a file")
		_ = h.Close()
	}
}

func TestNames(t *testing.T) {
	f := open(t, filepath.Join(t.TempDir(), "is/made"))
	create(t, f, "a")
	for _, err := range []error{f.Mkdir("d", 0o755), f.SyncDir("."), f.Rename("a", "d/b"), f.SyncDir("d"), f.Symlink("b", "d/l")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if st, err := f.Lstat("d/l"); err != nil || st.Mode&fs.ModeSymlink == 0 {
		t.Errorf("link: %+v, %v", st, err)
	}
	if err := f.Mkdir("d", 0o755); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Mkdir twice: %v", err)
	}
	if _, err := f.Lstat("a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("renamed away: %v", err)
	}
	if err := f.SyncAll(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
	if err := f.Remove("d/b"); err != nil {
		t.Error(err)
	}
}

func TestLock(t *testing.T) {
	f := open(t, t.TempDir())
	l, err := f.Lock("lock")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Lock("lock"); !errors.Is(err, ErrLocked) {
		t.Errorf("a second time: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	l, err = f.Lock("lock")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
}

func TestProbe(t *testing.T) {
	h := create(t, open(t, t.TempDir()), "f")
	if _, err := h.WriteAt(make([]byte, 10_000), 0); err != nil {
		t.Fatal(err)
	}
	for _, off := range []int64{0, 1, 4095, 4096, 9_999} {
		if err := h.Probe(off); err != nil {
			t.Errorf("at %d: %v", off, err)
		}
	}
}

// Both ways to look at a file say the same, and one file has one identity
// under all its names.
func TestInfo(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir)
	h := create(t, f, "f")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := h.WriteAt([]byte("x"), 9)
	must(err)
	must(os.Link(filepath.Join(dir, "f"), filepath.Join(dir, "hard")))
	must(os.Symlink("f", filepath.Join(dir, "soft")))
	must(os.WriteFile(filepath.Join(dir, "other"), []byte("0123456789"), 0o600))
	look := func(name string) Info {
		t.Helper()
		st, err := f.Lstat(name)
		must(err)
		return st
	}
	st, err := h.Stat()
	must(err)
	if st != look("f") || st != look("hard") || st.Size != 10 || st.MTime == 0 || st.CTime == 0 || st.Dev == 0 || !st.Mode.IsRegular() || st.Gone {
		t.Errorf("by handle %+v, by name %+v, by its other name %+v", st, look("f"), look("hard"))
	}
	if st.ID() == look("other").ID() || st.ID() != look("hard").ID() || st.ID() == (FileID{}) {
		t.Errorf("identity %v, of another file %v", st.ID(), look("other").ID())
	}
	if look("soft").Mode&fs.ModeSymlink == 0 || !look(".").Mode.IsDir() {
		t.Errorf("link %v, folder %v", look("soft").Mode, look(".").Mode)
	}
	if _, err := f.Lstat("none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no such file: %v", err)
	}
	// A date that is put back is told by the other one.
	must(os.Chtimes(filepath.Join(dir, "f"), time.Time{}, time.Unix(0, st.MTime)))
	if now := look("f"); now.MTime != st.MTime || now.CTime == st.CTime {
		t.Errorf("before %+v, after %+v", st, now)
	}
	must(f.Remove("f"))
	must(f.Remove("hard"))
	if st, err := h.Stat(); err != nil || !st.Gone {
		t.Errorf("removed: %+v, %v", st, err)
	}
}

// A name is looked at below the root alone, whatever links lead there.
func TestLstatStaysInside(t *testing.T) {
	outside, dir := t.TempDir(), t.TempDir()
	for _, file := range []string{filepath.Join(outside, "f"), filepath.Join(dir, "f")} {
		if err := os.WriteFile(file, []byte("0123456789"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"in": ".", "out": outside, "up": "../" + filepath.Base(outside), "proc": "/proc/self/root"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	f, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if st, err := f.Lstat("in/f"); err != nil || st.Size != 10 {
		t.Errorf("by a link that stays inside: %+v, %v", st, err)
	}
	for _, name := range []string{"out/f", "up/f", "proc/etc", "../" + filepath.Base(outside) + "/f", filepath.Join(outside, "f")} {
		if st, err := f.Lstat(name); err == nil {
			t.Errorf("%s is seen: %+v", name, st)
		}
	}
}
