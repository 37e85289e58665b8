package cache

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"torrentfs/cache/resume"
	"torrentfs/metainfo"
)

func TestLayoutOnDisk(t *testing.T) {
	tor, dir := mixed(t), t.TempDir()
	var mu sync.Mutex
	var complete []int
	s := openStore(t, newCache(t, 0), tor, Options{DataDir: dir, OnFileComplete: func(f int) {
		mu.Lock()
		defer mu.Unlock()
		complete = append(complete, f)
	}})
	if _, err := os.Stat(filepath.Join(dir, "top/tiny")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file without a block exists: %v", err)
	}
	tor.fetchAll(s)
	syncStore(t, s)
	for i := range tor.Files {
		f := &tor.Files[i]
		switch {
		case f.Pad:
			continue
		case f.Link():
			if to, err := os.Readlink(filepath.Join(dir, f.Path)); err != nil || to != f.Symlink {
				t.Errorf("%s: link to %q, %v", f.Path, to, err)
			}
			continue
		}
		got, err := os.ReadFile(filepath.Join(dir, f.Path))
		if err != nil || !bytes.Equal(got, tor.data[f.Offset:f.Offset+f.Length]) {
			t.Errorf("%s: %d bytes, %v, or wrong ones", f.Path, len(got), err)
		}
		if st, err := os.Stat(filepath.Join(dir, f.Path)); err == nil && f.Executable != (st.Mode()&0o100 != 0) {
			t.Errorf("%s: mode %v", f.Path, st.Mode())
		}
		if !s.FileComplete(i) || s.FileBytes(i) != f.Length {
			t.Errorf("%s: complete %v, %d bytes", f.Path, s.FileComplete(i), s.FileBytes(i))
		}
	}
	slices.Sort(complete)
	if want := []int{0, 2, 3, 5, 7}; !slices.Equal(complete, want) {
		t.Errorf("reported complete: %v, want %v", complete, want)
	}
	if pads, _ := filepath.Glob(filepath.Join(dir, "top/.pad*")); pads != nil {
		t.Errorf("padding is stored: %v", pads)
	}
	closeStore(t, s)
}

func TestReadOnlyVerified(t *testing.T) {
	tor := mixed(t)
	s := openStore(t, newCache(t, 0), tor, Options{DataDir: t.TempDir()})
	defer closeStore(t, s)
	tor.put(s, 0)
	tor.put(s, 1)
	buf := make([]byte, 1000)
	if n, err := s.ReadAt(buf, 0); n != 0 || !errors.Is(err, ErrMissing) {
		t.Errorf("unverified piece: %d bytes, %v", n, err)
	}
	if _, ok := s.Memory(0, 10); ok {
		t.Error("Memory gives unverified bytes")
	}
	s.Commit(0)
	at := tor.PieceLength() - 100
	n, err := s.ReadAt(buf, at)
	if n != 100 || !errors.Is(err, ErrMissing) || !bytes.Equal(buf[:100], tor.data[at:at+100]) {
		t.Errorf("up to a missing piece: %d bytes, %v", n, err)
	}
	s.Discard(1)
	if s.Has(1) {
		t.Error("discarded piece is held")
	}
	tor.fetchAll(s)
	if n, err := s.ReadAt(buf, tor.Size()-10); n != 10 || err != io.EOF {
		t.Errorf("over the end: %d bytes, %v", n, err)
	}
	if n, err := s.ReadAt(buf, tor.Size()+10); n != 0 || err != io.EOF {
		t.Errorf("behind the end: %d bytes, %v", n, err)
	}
}

// Any order of Put, Commit, Discard, flush and read gives the right bytes, by
// every way there is to read them.
func TestEveryWayReadsTheSame(t *testing.T) {
	for _, tor := range []*torrent{
		mixed(t),
		newTorrentV2(t, 32<<10, 100_000, 0, 1, 16<<10, 70_000),
		newTorrent(t, 10_000, entry{path: "a", size: 95_001}, entry{path: "b", size: 30_000}), // pieces of less than a block
		newTorrent(t, 50_000, entry{path: "a", size: 333_333}),                                // not a multiple of the block
	} {
		tor.everyWay(t)
	}
}

func (tor *torrent) everyWay(t *testing.T) {
	for seed := range uint64(5) {
		rng := rand.New(rand.NewPCG(seed, 1))
		s := openStore(t, newCache(t, minMemory), tor, Options{DataDir: t.TempDir(), UnverifiedMemory: 64 << 10})
		for _, p := range rng.Perm(tor.NumPieces()) {
			for _, b := range rng.Perm(tor.NumBlocks(p)) {
				if rng.IntN(5) == 0 {
					wrong := tor.block(p, b)
					wrong[0]++
					s.Put(metainfo.Block{Piece: p, Index: b}, wrong)
					if rng.IntN(2) == 0 {
						s.DiscardBlock(metainfo.Block{Piece: p, Index: b})
					}
					if rng.IntN(2) == 0 {
						syncStore(t, s)
					}
				}
				s.Put(metainfo.Block{Piece: p, Index: b}, tor.block(p, b))
			}
			if rng.IntN(4) == 0 {
				syncStore(t, s)
			}
			if !tor.hash(s, p) {
				t.Fatalf("seed %d: piece %d does not read back before Commit", seed, p)
			}
		}
		for range 200 {
			off := rng.Int64N(tor.Size())
			n := 1 + rng.IntN(int(min(tor.Size()-off, 150_000)))
			want := tor.data[off : off+int64(n)]
			got := make([]byte, n)
			if m, err := s.ReadAt(got, off); m != n || err != nil || !bytes.Equal(got, want) {
				t.Fatalf("seed %d: ReadAt(%d, %d): %d bytes, %v, or wrong ones", seed, off, n, m, err)
			}
			if bufs, ok := s.Memory(off, n); ok && !bytes.Equal(slices.Concat(bufs...), want) {
				t.Fatalf("seed %d: Memory(%d, %d): wrong bytes", seed, off, n)
			}
			if f, at, ok := s.Section(off, n); ok {
				if m, err := f.ReadAt(got, at); m != n || err != nil || !bytes.Equal(got, want) {
					t.Fatalf("seed %d: Section(%d, %d): %d bytes, %v, or wrong ones", seed, off, n, m, err)
				}
			}
			if rng.IntN(50) == 0 {
				syncStore(t, s)
			}
		}
		closeStore(t, s)
	}
}

func TestMemoryWithoutDisk(t *testing.T) {
	tor := mixed(t)
	s := openStore(t, newCache(t, 0), tor, Options{DataDir: t.TempDir()})
	defer closeStore(t, s)
	tor.fetchAll(s)
	bufs, ok := s.Memory(10, int(tor.Size())-20)
	if !ok || !bytes.Equal(slices.Concat(bufs...), tor.data[10:tor.Size()-10]) {
		t.Errorf("Memory of all that was just committed: %v", ok)
	}
}

func TestUnverifiedBudget(t *testing.T) {
	tor := newTorrent(t, 1<<20, entry{path: "f", size: 8 << 20})
	s := openStore(t, newCache(t, 0), tor, Options{DataDir: t.TempDir(), UnverifiedMemory: 1 << 20})
	defer closeStore(t, s)
	for p := range tor.NumPieces() {
		tor.put(s, p)
	}
	syncStore(t, s)
	s.mu.Lock()
	kept, sum := s.kept, int64(0)
	for _, pb := range s.pieces {
		for _, b := range pb.bufs {
			sum += int64(len(b))
		}
	}
	s.mu.Unlock()
	if kept > 1<<20 || sum != kept {
		t.Errorf("%d unverified bytes are kept, %d counted, of 1 MiB", sum, kept)
	}
	for p := range tor.NumPieces() {
		if !tor.hash(s, p) {
			t.Errorf("piece %d does not read back", p)
		}
	}
	if s.kept != 0 || s.unverified.Len() != 0 {
		t.Errorf("%d bytes in %d pieces left in the budget", s.kept, s.unverified.Len())
	}
}

func TestBacking(t *testing.T) {
	tor, dir := mixed(t), t.TempDir()
	s := openStore(t, newCache(t, 0), tor, Options{DataDir: dir})
	defer closeStore(t, s)
	if _, ok := s.Backing(0); ok {
		t.Fatal("a file that is not there is backed")
	}
	tor.fetchAll(s)
	syncStore(t, s)
	f, ok := s.Backing(0)
	g, ok2 := s.Backing(0)
	if !ok || !ok2 || f != g {
		t.Fatalf("Backing twice: %v, %v", ok, ok2)
	}
	got, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<30))
	if err != nil || !bytes.Equal(got, tor.data[:100_000]) {
		t.Errorf("backing file: %d bytes, %v", len(got), err)
	}
	if err := s.Forget(0); !errors.Is(err, ErrInUse) {
		t.Errorf("Forget below a backing file: %v", err)
	}
	s.ReleaseBacking(0)
	s.ReleaseBacking(0)
	if err := s.Forget(0); err != nil {
		t.Errorf("Forget: %v", err)
	}
	if _, ok := s.Backing(0); ok || s.Has(0) || s.FileComplete(0) {
		t.Error("forgotten piece is still handed out")
	}
	if err := os.WriteFile(filepath.Join(dir, "top/a/four"), make([]byte, 70_001), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.Backing(7); ok {
		t.Error("a file that is too long is backed")
	}
	tor.fetch(s, 0)
	tor.check(t, s, 0)
}

func TestLocked(t *testing.T) {
	tor, dir := mixed(t), t.TempDir()
	c := newCache(t, 0)
	s := openStore(t, c, tor, Options{DataDir: dir})
	_, err := newCache(t, 0).Open(tor.Info, Options{DataDir: dir})
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), dir) {
		t.Errorf("second Open: %v", err)
	}
	other := newTorrent(t, 64<<10, entry{path: "a", size: 5})
	if _, err := c.Open(other.Info, Options{DataDir: dir}); !errors.Is(err, ErrLocked) {
		t.Errorf("another torrent of that name: %v", err)
	}
	closeStore(t, s)
	s = openStore(t, c, other, Options{DataDir: dir})
	closeStore(t, s)
}

func TestPathsStayInside(t *testing.T) {
	for _, p := range []string{"", "..", "../x", "/x", "a/../../x", "a//b", "a/.", resume.StateDir, ".TorrentFS/x", resume.StateDir + "/x"} {
		if resume.CheckPath(p) == nil {
			t.Errorf("checkPath(%q) is content", p)
		}
	}
	for _, p := range []string{"a", "a/b", "..a", "a/" + resume.StateDir} {
		if err := resume.CheckPath(p); err != nil {
			t.Errorf("checkPath(%q): %v", p, err)
		}
	}
	for target, want := range map[string]bool{
		"x": true, "../x": true, "../../x": false, "../../top/x": false, "/x": false, "..": false, "../": false, "a/../../b": true, "../../../x": false,
	} {
		if safeLink("top/dir/link", target) != want {
			t.Errorf("safeLink(%q) is %v", target, !want)
		}
	}
}

// A link in the data folder that leads out of it is not followed, nor is a
// FIFO waited for.
func TestNoWayOut(t *testing.T) {
	tor, dir, outside := mixed(t), t.TempDir(), t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "top"), 0o755); err != nil {
		t.Fatal(err)
	}
	link := func() {
		t.Helper()
		if err := os.Symlink(outside, filepath.Join(dir, "top/a")); err != nil {
			t.Fatal(err)
		}
	}
	link()
	mkfifo(t, filepath.Join(dir, "top/three.sh"))
	c := newCache(t, 0)
	if _, err := c.Open(tor.Info, Options{DataDir: dir}); !errors.Is(err, ErrLink) || !strings.Contains(err.Error(), "top/a") {
		t.Errorf("open with a link: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "top/a")); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var errs []error
	s := openStore(t, c, tor, Options{DataDir: dir, OnError: func(err error) {
		mu.Lock()
		defer mu.Unlock()
		errs = append(errs, err)
	}})
	link()
	tor.fetchAll(s)
	if err := s.Sync(t.Context()); err == nil {
		t.Error("Sync is content")
	}
	for p := range tor.NumPieces() {
		tor.check(t, s, p) // in memory still
	}
	if s.Dirty() == 0 || s.Err() == nil {
		t.Errorf("dirty %d, err %v", s.Dirty(), s.Err())
	}
	var de *DiskError
	mu.Lock()
	if len(errs) != 1 || !errors.As(errs[0], &de) {
		t.Errorf("reported: %v, want one DiskError", errs)
	}
	mu.Unlock()
	if s.Close() == nil {
		t.Error("Close is content")
	}
	if left, _ := os.ReadDir(outside); len(left) != 0 {
		t.Errorf("written outside: %v", left)
	}
}

func TestConcurrentUse(t *testing.T) {
	tor := newTorrent(t, 64<<10, entry{path: "a", size: 1 << 20}, entry{path: "b/c", size: 3<<20 + 7})
	c, err := New(Config{Memory: minMemory, OpenFiles: 1})
	if err != nil {
		t.Fatal(err)
	}
	s := openStore(t, c, tor, Options{DataDir: t.TempDir(), UnverifiedMemory: 256 << 10})
	var writers, readers sync.WaitGroup
	stop := make(chan struct{})
	for r := range 4 {
		readers.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(r), 2))
			buf := make([]byte, 200_000)
			for {
				select {
				case <-stop:
					return
				default:
				}
				off := rng.Int64N(tor.Size())
				n, err := s.ReadAt(buf[:1+rng.IntN(len(buf))], off)
				if err != nil && err != io.EOF && !errors.Is(err, ErrMissing) || !bytes.Equal(buf[:n], tor.data[off:off+int64(n)]) {
					t.Errorf("read %d at %d: %v, or wrong bytes", n, off, err)
					return
				}
				if bufs, ok := s.Memory(off, min(n, 40_000)); ok && !bytes.Equal(slices.Concat(bufs...), tor.data[off:off+int64(min(n, 40_000))]) {
					t.Errorf("wrong bytes in memory at %d", off)
					return
				}
				s.Section(off, 100)
				if f, ok := s.Backing(r % 2); ok {
					_, _ = f.ReadAt(buf[:10], 0)
					s.ReleaseBacking(r % 2)
				}
			}
		})
	}
	for w := range 2 {
		writers.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 3))
			for round := range 6 {
				for _, p := range rng.Perm(tor.NumPieces()) {
					if p%2 != w {
						continue
					}
					if round > 0 && rng.IntN(3) == 0 {
						if err := s.Forget(p); err != nil && !errors.Is(err, ErrInUse) && !errors.Is(err, ErrMissing) {
							t.Error(err)
						}
					}
					tor.put(s, p)
					if rng.IntN(4) == 0 {
						s.Discard(p)
						tor.put(s, p)
					}
					s.Commit(p)
				}
				if err := s.Sync(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if s.Has(0) {
		if _, err := s.ReadAt(make([]byte, 1), 0); !errors.Is(err, ErrClosed) {
			t.Errorf("read after Close: %v", err)
		}
	}
}

// 300 files through 4 descriptors.
func TestManyFiles(t *testing.T) {
	var files []entry
	for i := range 300 {
		files = append(files, entry{path: "d" + string(rune('a'+i%7)) + "/f" + time.Duration(i).String(), size: int64(1000 + i)})
	}
	tor, dir := newTorrent(t, metainfo.BlockSize, files...), t.TempDir()
	c, err := New(Config{OpenFiles: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s := openStore(t, c, tor, Options{DataDir: dir})
	tor.fetchAll(s)
	syncStore(t, s)
	for i := range tor.Files {
		f := &tor.Files[i]
		got, at, ok := s.Section(f.Offset, int(f.Length))
		buf := make([]byte, f.Length)
		if !ok {
			t.Fatalf("%s: no section", f.Path)
		}
		if _, err := got.ReadAt(buf, at); err != nil || !bytes.Equal(buf, tor.data[f.Offset:f.Offset+f.Length]) {
			t.Fatalf("%s: %v, or wrong bytes", f.Path, err)
		}
	}
	if c.files.used > 4 {
		t.Errorf("%d files are open", c.files.used)
	}
	closeStore(t, s)
	if c.files.used != 0 || len(c.files.open) != 0 || c.files.idle.Len() != 0 {
		t.Errorf("%d files are open after Close", c.files.used)
	}
}

// A read says in one answer what is here and what is missing.
func TestReadTellsWhatIsMissing(t *testing.T) {
	tor := mixed(t)
	s := openStore(t, newCache(t, 0), tor, Options{DataDir: t.TempDir()})
	defer closeStore(t, s)
	for _, p := range []int{1, 2, 4} {
		tor.fetch(s, p)
	}
	n := tor.PieceLength()
	for _, c := range []struct {
		off, want int64 // bytes that are here of two pieces and a byte
	}{{0, 0}, {n, 2 * n}, {2*n - 1, n + 1}, {3 * n, 0}, {4 * n, n}} {
		p := make([]byte, min(2*n+1, tor.Size()-c.off))
		got, missing, err := s.Read(p, c.off)
		if want := (metainfo.ByteRange{Off: c.off + c.want, Len: int64(len(p)) - c.want}); int64(got) != c.want || missing != want || err != nil {
			t.Errorf("at %d: %d bytes, missing %+v, %v; want %d, %+v", c.off, got, missing, err, c.want, want)
		}
		if !bytes.Equal(p[:got], tor.data[c.off:][:got]) {
			t.Errorf("at %d: wrong bytes", c.off)
		}
	}
	p := make([]byte, n)
	if got, missing, err := s.Read(p, n); got != len(p) || missing.Len != 0 || err != nil {
		t.Errorf("all is here: %d bytes, missing %+v, %v", got, missing, err)
	}
}
