package cache

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"torrentfs/cache/resume"
	"torrentfs/cache/vfs"
	"torrentfs/internal/crashfs"
	"torrentfs/metainfo"
)

// lent is a file of bytes in memory, for Fill.
type lent struct {
	vfs.File // nil: nothing else is to be called
	data     []byte
}

func (l *lent) OS() *os.File            { return nil }
func (l *lent) Stat() (vfs.Info, error) { return vfs.Info{Size: int64(len(l.data))}, nil }
func (l *lent) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(l.data).ReadAt(p, off)
}

// duplicateOf is a file with the content of one of the torrent's files.
func (tor *torrent) duplicateOf(file int) *lent {
	f := &tor.Files[file]
	return &lent{data: tor.data[f.Offset : f.Offset+f.Length]}
}

func (tor *torrent) fileOf(piece int) int {
	for i := range tor.Files {
		if f := &tor.Files[i]; f.Length > 0 && tor.PieceOf(f.Offset) <= piece && piece <= tor.PieceOf(f.Offset+f.Length-1) {
			return i
		}
	}
	panic("no file")
}

// What is complete here is found by its root from elsewhere, and by nobody
// who has it already; damaged, foreign and odd files are passed over.
func TestFindDuplicates(t *testing.T) {
	shelf := t.TempDir()
	tor := newTorrentV2(t, 32<<10, 100_000, 0, 16, 50_000)
	a := filepath.Join(shelf, "a")
	s := openStore(t, newCache(t, 0), tor, Options{DataDir: a})
	for p := range tor.NumPieces() - 1 { // the last file lacks a piece
		tor.fetch(s, p)
	}
	closeStore(t, s)
	name := filepath.Join(a, resume.StateDir, tor.Hash.String()+resume.CatalogueSuffix)
	good, err := os.ReadFile(name)
	must(t, err)
	must(t, os.Symlink(name, filepath.Join(a, resume.StateDir, "link.files")))
	must(t, syscall.Mkfifo(filepath.Join(a, resume.StateDir, "fifo.files"), 0o600))
	must(t, os.Mkdir(filepath.Join(a, resume.StateDir, "dir.files"), 0o755))
	must(t, os.WriteFile(filepath.Join(shelf, "file"), nil, 0o644))
	damaged := filepath.Join(shelf, "damaged", resume.StateDir)
	must(t, os.MkdirAll(damaged, 0o755))
	must(t, os.WriteFile(filepath.Join(damaged, "x.files"), good[:len(good)-1], 0o644))

	want := map[metainfo.SHA256]int64{}
	for i := range tor.Files {
		if f := &tor.Files[i]; f.Length > 0 {
			want[f.PiecesRoot] = f.Length
		}
	}
	dirs := append(SubFolders(shelf), filepath.Join(shelf, "none"), filepath.Join(shelf, "file"))
	find := func(q DuplicateSearch) (paths []string) {
		q.DataDirs = dirs
		for _, tw := range FindDuplicates(context.Background(), q) {
			if tw.DataDir != a || tw.Length != want[tw.Root] {
				t.Errorf("found %+v", tw)
			}
			paths = append(paths, tw.Path)
		}
		return paths
	}
	if got := strings.Join(find(DuplicateSearch{Want: want}), " "); got != "top/f0 top/f2" {
		t.Errorf("found %q", got)
	}
	if got := find(DuplicateSearch{Want: want, Hash: tor.Hash, DataDir: a}); got != nil {
		t.Errorf("the torrent found %v of its own", got)
	}
	if got := find(DuplicateSearch{Want: want, Hash: tor.Hash, DataDir: shelf}); len(got) != 2 {
		t.Errorf("the torrent found %v in another folder", got)
	}
	if got := find(DuplicateSearch{Want: map[metainfo.SHA256]int64{tor.Files[0].PiecesRoot: 99_999}}); got != nil {
		t.Errorf("found %v of another length", got)
	}
}

// The catalogue follows what is complete, also of what was complete before.
func TestCatalogueFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := crashfs.New()
		tor := newTorrentV2(t, 32<<10, 100_000, 50_000)
		c := newCache(t, 0)
		name := resume.StateDir + "/" + tor.Hash.String() + resume.CatalogueSuffix
		read := func() string {
			b, err := readFile(disk, name, resume.MaxCatalogue)
			if err != nil {
				return ""
			}
			files, err := resume.DecodeCatalogue(b)
			must(t, err)
			var names []string
			for _, f := range files {
				names = append(names, f.Path)
			}
			return strings.Join(names, " ")
		}
		s := openStore(t, c, tor, Options{FS: disk})
		time.Sleep(time.Minute)
		if got := read(); got != "" {
			t.Errorf("nothing is complete, and the catalogue has %q", got)
		}
		for p := range 4 {
			tor.fetch(s, p)
		}
		time.Sleep(3 * time.Second)
		if got := read(); got != "top/f0" {
			t.Errorf("one file is complete, and the catalogue has %q", got)
		}
		tor.fetch(s, 4)
		tor.fetch(s, 5)
		time.Sleep(catalogueEvery + 2*time.Second)
		if got := read(); got != "top/f0 top/f1" {
			t.Errorf("both are complete, and the catalogue has %q", got)
		}
		must(t, s.Forget(5))
		closeStore(t, s)
		if got := read(); got != "top/f0" {
			t.Errorf("one was given up, and the catalogue has %q", got)
		}
		must(t, disk.Remove(name))
		s = openStore(t, c, tor, Options{FS: disk})
		time.Sleep(time.Minute)
		if got := read(); got != "top/f0" {
			t.Errorf("opened again, the catalogue has %q", got)
		}
		closeStore(t, s)
	})
}

func TestFillRefuses(t *testing.T) {
	tor := newTorrentV2(t, 32<<10, 100_000, 50_000)
	dir := t.TempDir()
	s := openStore(t, newCache(t, 0), tor, Options{DataDir: dir})
	s.Put(metainfo.Block{Piece: 0, Index: 0}, tor.block(0, 0))
	tor.fetch(s, 1)
	for name, c := range map[string]struct {
		piece int
		src   vfs.File
		want  error
	}{
		"begun":        {0, tor.duplicateOf(0), nil},
		"verified":     {1, tor.duplicateOf(0), nil},
		"short":        {3, &lent{data: tor.data[:90_000]}, io.ErrUnexpectedEOF},
		"of something": {2, &lent{}, io.ErrUnexpectedEOF},
	} {
		if err := s.Fill(c.piece, c.src); err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	own, err := vfs.Open(dir)
	must(t, err)
	defer own.Close()
	syncStore(t, s)
	f, err := own.OpenFile("top/f0", os.O_RDONLY, 0)
	must(t, err)
	defer f.Close()
	if err := s.Fill(2, f); err == nil {
		t.Error("a file was taken for its own duplicate")
	}
	mixed := openStore(t, newCache(t, 0), mixed(t), Options{DataDir: t.TempDir()})
	if err := mixed.Fill(1, &lent{data: make([]byte, 1<<20)}); err == nil {
		t.Error("a piece of several files was filled from one")
	}
	closeStore(t, s)
	if err := s.Fill(2, tor.duplicateOf(0)); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// On disk both files are apart: what happens to one changes nothing of the other.
func TestFillMakesNoLink(t *testing.T) {
	tor := newTorrentV2(t, 32<<10, 100_000)
	dir, other := t.TempDir(), t.TempDir()
	path := filepath.Join(other, "duplicate")
	must(t, os.WriteFile(path, tor.data[:100_000], 0o600))
	folder, err := vfs.Open(other)
	must(t, err)
	defer folder.Close()
	src, err := folder.OpenFile("duplicate", os.O_RDONLY, 0)
	must(t, err)
	defer src.Close()
	s := openStore(t, newCache(t, 0), tor, Options{DataDir: dir})
	for p := range tor.NumPieces() {
		must(t, s.Fill(p, src))
		if !tor.hash(s, p) {
			t.Fatalf("piece %d is wrong", p)
		}
	}
	must(t, os.WriteFile(path, make([]byte, 100_000), 0o600))
	must(t, os.Chmod(path, 0))
	syncStore(t, s)
	got, err := os.ReadFile(filepath.Join(dir, tor.Files[0].Path))
	if err != nil || !bytes.Equal(got, tor.data[:100_000]) {
		t.Errorf("the file followed its duplicate (%v)", err)
	}
	closeStore(t, s)
	s = openStore(t, newCache(t, 0), tor, Options{DataDir: dir})
	if count(s.Held()) != tor.NumPieces() {
		t.Errorf("%d pieces held after a clean stop", count(s.Held()))
	}
}

// fillScript takes half of the pieces from duplicates, one of them wrong.
func (tor *torrent) fillScript(t *testing.T, c *Cache, disk *crashfs.FS) *progress {
	pr := newProgress()
	s, err := c.Open(tor.Info, Options{FS: disk})
	if err != nil {
		return pr
	}
	for p := range tor.NumPieces() {
		if p%2 == 1 {
			tor.put(s, p)
			pr.commit(s, p)
			continue
		}
		src := tor.duplicateOf(tor.fileOf(p))
		if p == 2 {
			src.data = append(bytes.Clone(src.data), 1)
			src.data[tor.PieceLength()*2+5]++
		}
		if s.Fill(p, src) == nil && tor.hash(s, p) {
			pr.committed[p] = time.Now()
		}
		time.Sleep(700 * time.Millisecond)
	}
	pr.sync(t, s)
	if err := s.Close(); err != nil && disk.Died().IsZero() {
		t.Error(err)
	}
	return pr
}

// Power is cut at every operation of a torrent that takes pieces from duplicates.
func TestPowerCutWhileFilling(t *testing.T) {
	tor := newTorrentV2(t, 2*metainfo.BlockSize, 200_000, 5, 70_000)
	c := newCache(t, minMemory)
	total := 0
	synctest.Test(t, func(t *testing.T) {
		disk := crashfs.New()
		pr := tor.fillScript(t, c, disk)
		if total = disk.Ops(); len(pr.synced) != tor.NumPieces()-1 {
			t.Errorf("%d pieces of %d, of which one was wrong", len(pr.synced), tor.NumPieces())
		}
	})
	for at := 1; at <= total && !t.Failed(); at++ {
		for mode := range 2 {
			synctest.Test(t, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(uint64(at), uint64(mode)))
				disk := crashfs.New()
				disk.CutAt(at, rng)
				pr := tor.fillScript(t, c, disk)
				if mode == 0 {
					rng = nil
				}
				tor.examine(t, c, disk.Crash(rng), pr.synced, at)
			})
		}
	}
}
