package cache

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"torrentfs/cache/resume"
	"torrentfs/internal/bitset"
)

// The same as the crash tests, once on a real disk: stop, start, change.
func TestRestartOnDisk(t *testing.T) {
	tor, dir := mixed(t), filepath.Join(t.TempDir(), "new/data")
	c := newCache(t, 0)
	s := openStore(t, c, tor, Options{DataDir: dir})
	if count(s.Held()) != 0 || s.InDoubt()[0] != 1<<2 { // padding throughout
		t.Fatalf("of nothing: held %b, doubtful %b", s.Held(), s.InDoubt())
	}
	tor.fetchAll(s)
	closeStore(t, s)

	s = openStore(t, c, tor, Options{DataDir: dir})
	if count(s.Held()) != tor.NumPieces() || !s.FileComplete(0) || !s.FileComplete(1) {
		t.Fatalf("after a clean stop: held %b", s.Held())
	}
	for p := range tor.NumPieces() {
		tor.check(t, s, p)
	}
	closeStore(t, s)

	// The same size, the same first bytes: only the date tells.
	name := filepath.Join(dir, "top/three.sh")
	if err := os.WriteFile(name, make([]byte, 200_001), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(name, time.Time{}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, c, tor, Options{DataDir: dir})
	f := &tor.Files[5]
	for p := range tor.NumPieces() {
		off := int64(p) * tor.PieceLength()
		changed := off < f.Offset+f.Length && f.Offset < off+tor.PieceSize(p)
		if s.Has(p) == changed {
			t.Errorf("piece %d: held is %v", p, s.Has(p))
		}
	}
	closeStore(t, s)
}

// Files of another client, sparse ones: what is a hole throughout is not
// hashed.
func TestTakeOver(t *testing.T) {
	tor, dir := newTorrent(t, 256<<10, entry{path: "f", size: 4 << 20}), t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "top"), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, "top/f"))
	must(t, err)
	for _, p := range []int64{2, 3, 9} {
		_, err := f.WriteAt(tor.piece(int(p)), p*tor.PieceLength())
		must(t, err)
	}
	must(t, f.Truncate(4<<20))
	must(t, f.Close())
	s := openStore(t, newCache(t, 0), tor, Options{DataDir: dir})
	if d := s.InDoubt()[0]; d != 1<<2|1<<3|1<<9 && count(s.InDoubt()) != 16 { // 16: a file system without holes
		t.Errorf("doubtful: %b", d)
	}
	right := 0
	for p := range 16 {
		if bitset.Set(s.InDoubt()).Has(p) && tor.hash(s, p) {
			right++
		}
	}
	if right != 3 {
		t.Errorf("%d pieces taken over, want 3", right)
	}
	if err := s.Forget(2); err != nil {
		t.Error(err)
	}
	closeStore(t, s)
	s = openStore(t, newCache(t, 0), tor, Options{DataDir: dir})
	if h := s.Held()[0]; h != 1<<3|1<<9 || count(s.InDoubt()) != 0 {
		t.Errorf("held %b, doubtful %b", h, s.InDoubt())
	}
	tor.check(t, s, 3)
	closeStore(t, s)
}

// A folder that cannot be written can be seeded from.
func TestReadOnlyFolder(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("permissions do not bind root")
	}
	tor, dir := mixed(t), t.TempDir()
	s := openStore(t, newCache(t, 0), tor, Options{DataDir: dir})
	tor.fetchAll(s)
	closeStore(t, s)
	must(t, os.RemoveAll(filepath.Join(dir, resume.StateDir)))
	must(t, os.Chmod(dir, 0o500))
	defer os.Chmod(dir, 0o700)
	s = openStore(t, newCache(t, 0), tor, Options{DataDir: dir})
	for p := range tor.NumPieces() {
		if !tor.hash(s, p) {
			t.Errorf("piece %d is wrong", p)
		}
		tor.check(t, s, p)
	}
	closeStore(t, s)
}
