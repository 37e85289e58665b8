package cache

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"torrentfs/cache/resume"
	"torrentfs/internal/bitset"
	"torrentfs/internal/crashfs"
	"torrentfs/metainfo"
)

// Piece and File are what the torrent's hashes would say.
func (tor *torrent) Piece(piece int, r io.Reader) (right, known bool) {
	b, err := io.ReadAll(r)
	return err == nil && bytes.Equal(b, tor.piece(piece)), true
}

func (tor *torrent) File(int, io.Reader) (right, known bool) { return false, false }

// unhashed is a torrent of v2 whose piece layers are not here.
type unhashed struct{ *torrent }

func (u unhashed) Piece(int, io.Reader) (right, known bool) { return false, false }

func (u unhashed) File(file int, r io.Reader) (right, known bool) {
	b, err := io.ReadAll(r)
	f := &u.Files[file]
	return err == nil && bytes.Equal(b, u.data[f.Offset:f.Offset+f.Length]), true
}

func single(t testing.TB, name string, size, pieceLen int64) *torrent {
	t.Helper()
	pieces := (size + pieceLen - 1) / pieceLen
	info, err := metainfo.ParseInfo(fmt.Appendf(nil, "d6:lengthi%de4:name%s12:piece lengthi%de6:pieces%se",
		size, str(name), pieceLen, str(strings.Repeat("x", int(pieces)*20))), metainfo.Limits{})
	must(t, err)
	return &torrent{Info: info, data: content(info)}
}

func makeFile(t testing.TB, name string, content []byte) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(name), 0o755))
	must(t, os.WriteFile(name, content, 0o644))
}

// tree lists the files below dir but for our own, with what they hold.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	must(t, filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.Name() == resume.StateDir {
			return fs.SkipDir
		}
		if d.Type().IsRegular() {
			b, err := os.ReadFile(name)
			rel, _ := filepath.Rel(dir, name)
			files[rel] = string(b)
			return err
		}
		return nil
	}))
	return files
}

// finish downloads the rest of the torrent, twice opened, and returns where it lies.
func (tor *torrent) finish(t testing.TB, opt Options) []string {
	t.Helper()
	var names []string
	for range 2 {
		s := openStore(t, newCache(t, 0), tor, opt)
		for p := range tor.NumPieces() {
			if bitset.Set(s.InDoubt()).Has(p) {
				tor.hash(s, p)
			}
		}
		tor.fetchAll(s)
		again := make([]string, len(tor.Files))
		for i := range tor.Files {
			again[i] = s.Path(i)
		}
		if names != nil && !slices.Equal(names, again) {
			t.Errorf("lies at %q, and then at %q", names, again)
		}
		names = again
		closeStore(t, s)
	}
	return names
}

// What lies under the name of a torrent is left as it is unless it is the torrent's.
func TestForeignFileIsLeft(t *testing.T) {
	const size, piece = 200_000, 32 << 10
	tor := single(t, "report.pdf", size, piece)
	other := bytes.Repeat([]byte("mine "), size/5)
	with := func(off, n int) []byte {
		b := make([]byte, size)
		copy(b[off:], tor.data[off:off+n])
		return b
	}
	mixed := bytes.Clone(tor.data)
	copy(mixed, other[:3*piece])
	for name, c := range map[string]struct {
		content []byte
		taken   bool
	}{
		"nothing":                    {nil, true},
		"empty":                      {[]byte{}, true},
		"other":                      {other, false},
		"other, shorter":             {other[:100], false},
		"other, longer":              {append(bytes.Clone(other), other...), false},
		"zeros":                      {make([]byte, size), true},
		"zeros, shorter":             {make([]byte, 5000), true},
		"right":                      {tor.data, true},
		"right at first, other then": {append(bytes.Clone(tor.data[:piece]), other[piece:]...), true},
		"right at first, cut":        {tor.data[:piece+7], true},
		"right at the end":           {mixed, true},
		"preallocated, one piece":    {with(3*piece, piece), true},
		"preallocated, half a piece": {with(3*piece, piece/2), false},
		"right but for the length":   {append(bytes.Clone(tor.data), "more"...), true},
		"less than a piece is right": {append(bytes.Clone(tor.data[:piece-1]), other[piece-1:]...), false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if c.content != nil {
				makeFile(t, filepath.Join(dir, "report.pdf"), c.content)
			}
			names := tor.finish(t, Options{DataDir: dir, Hashes: tor})
			want, got := "report.pdf", tree(t, dir)
			if !c.taken {
				want = "report.1.pdf"
				if got["report.pdf"] != string(c.content) {
					t.Error("the file was changed")
				}
			}
			if names[0] != want || len(got) > 2 || !strings.HasPrefix(got[want], string(tor.data)) {
				t.Errorf("lies at %q, want %q; right is %v; %d files", names[0], want, got[want] == string(tor.data), len(got))
			}
		})
	}
	t.Run("told to overwrite", func(t *testing.T) {
		dir := t.TempDir()
		makeFile(t, filepath.Join(dir, "report.pdf"), other)
		if names := tor.finish(t, Options{DataDir: dir, Hashes: tor}); names[0] != "report.1.pdf" {
			t.Errorf("not told yet, lies at %q", names[0])
		}
		if names := tor.finish(t, Options{DataDir: dir}); names[0] != "report.pdf" || tree(t, dir)["report.pdf"] != string(tor.data) {
			t.Errorf("lies at %q", names[0])
		}
	})
	t.Run("only seeded", func(t *testing.T) {
		dir := t.TempDir()
		makeFile(t, filepath.Join(dir, "report.pdf"), other)
		s := openStore(t, newCache(t, 0), tor, Options{DataDir: dir, Hashes: tor, SeedOnly: true})
		if s.Path(0) != "report.pdf" || count(s.InDoubt()) != tor.NumPieces() {
			t.Errorf("looks at %q, %d pieces in doubt", s.Path(0), count(s.InDoubt()))
		}
		tor.fetch(s, 0)
		if err := s.Sync(t.Context()); !errors.Is(err, ErrForeign) {
			t.Errorf("sync: %v", err)
		}
		_ = s.Close()
		// Nor does the next run take what was seen then for its own.
		if names := tor.finish(t, Options{DataDir: dir, Hashes: tor}); names[0] != "report.1.pdf" || tree(t, dir)["report.pdf"] != string(other) {
			t.Errorf("then lies at %q", names[0])
		}
	})
}

// With pieces of a few bytes, somebody who knows how a file begins has no right
// to the rest.
func TestTinyPiecesProveNothing(t *testing.T) {
	tor := single(t, "authorized_keys", 3000, 10)
	for _, size := range []int{2990, 3000, 40_000} {
		dir := t.TempDir()
		mine := bytes.Repeat([]byte("x"), size)
		copy(mine, tor.data[:2500])
		makeFile(t, filepath.Join(dir, "authorized_keys"), mine)
		if names := tor.finish(t, Options{DataDir: dir, Hashes: tor}); names[0] == "authorized_keys" || tree(t, dir)["authorized_keys"] != string(mine) {
			t.Errorf("%d bytes: was overwritten, lies at %q", size, names[0])
		}
	}
}

// A torrent of which only the roots of files are known takes a file that is right throughout.
func TestWholeFileIsRecognised(t *testing.T) {
	tor := newTorrentV2(t, 32<<10, 200_000)
	own := tor.Files[0].Path
	for content, want := range map[string]string{string(tor.data[:200_000]): own, string(tor.data[:100_000]): "f0.1"} {
		dir := t.TempDir()
		makeFile(t, filepath.Join(dir, own), []byte(content))
		if names := tor.finish(t, Options{DataDir: dir, Hashes: unhashed{tor}}); names[0] != want {
			t.Errorf("%d bytes are right: lies at %q, want %q", len(content), names[0], want)
		}
	}
}

// Things that are no files stay as well.
func TestForeignThingsAreLeft(t *testing.T) {
	tor := single(t, "report.pdf", 50_000, 32<<10)
	for name, put := range map[string]func(name string) error{
		"directory":     func(name string) error { return os.MkdirAll(filepath.Join(name, "x"), 0o755) },
		"dangling link": func(name string) error { return os.Symlink("nowhere", name) },
		"link to a file": func(name string) error {
			return errors.Join(os.WriteFile(name+".x", []byte("mine"), 0o644), os.Symlink("report.pdf.x", name))
		},
	} {
		dir := t.TempDir()
		must(t, put(filepath.Join(dir, "report.pdf")))
		before, _ := os.Lstat(filepath.Join(dir, "report.pdf"))
		names := tor.finish(t, Options{DataDir: dir, Hashes: tor})
		after, err := os.Lstat(filepath.Join(dir, "report.pdf"))
		if err != nil || after.Mode() != before.Mode() || names[0] != "report.1.pdf" {
			t.Errorf("%s: %v, now %v (%v), torrent at %q", name, before.Mode(), after, err, names[0])
		}
		if b, err := os.ReadFile(filepath.Join(dir, "report.pdf.x")); err == nil && string(b) != "mine" {
			t.Errorf("%s: was written through", name)
		}
	}
	dir, outside := t.TempDir(), t.TempDir()
	makeFile(t, filepath.Join(outside, "f"), tor.data)
	must(t, os.Symlink(filepath.Join(outside, "f"), filepath.Join(dir, "report.pdf")))
	for _, seed := range []bool{false, true} {
		if _, err := newCache(t, 0).Open(tor.Info, Options{DataDir: dir, Hashes: tor, SeedOnly: seed}); !errors.Is(err, ErrLink) {
			t.Errorf("link that leads out: %v", err)
		}
	}
}

// A directory of the torrent's name is used if it is empty or has some of the
// torrent; else the torrent gets one of its own.
func TestForeignDirectoryIsLeft(t *testing.T) {
	tor := newTorrent(t, 32<<10, entry{path: "info.txt", size: 50_000}, entry{path: "e2.mkv", size: 90_000}, entry{path: "empty"})
	info, e2 := tor.data[:50_000], tor.data[50_000:]
	for name, c := range map[string]struct {
		have map[string][]byte
		want []string
	}{
		"nothing":          {nil, []string{"top/info.txt", "top/e2.mkv"}},
		"of the torrent":   {map[string][]byte{"top/e2.mkv": e2}, []string{"top/info.txt", "top/e2.mkv"}},
		"also others":      {map[string][]byte{"top/e2.mkv": e2, "top/x": e2}, []string{"top/info.txt", "top/e2.mkv"}},
		"also a wrong one": {map[string][]byte{"top/e2.mkv": e2, "top/info.txt": e2}, []string{"top/info.1.txt", "top/e2.mkv"}},
		"only a wrong one": {map[string][]byte{"top/info.txt": e2}, []string{"top.1/info.txt", "top.1/e2.mkv"}},
		"only others":      {map[string][]byte{"top/e1.mkv": info}, []string{"top.1/info.txt", "top.1/e2.mkv"}},
		"a file":           {map[string][]byte{"top": info}, []string{"top.1/info.txt", "top.1/e2.mkv"}},
		"twice":            {map[string][]byte{"top/e1.mkv": info, "top.1": info}, []string{"top.2/info.txt", "top.2/e2.mkv"}},
		"preallocated":     {map[string][]byte{"top/e2.mkv": make([]byte, 90_000), "top/other": info}, []string{"top/info.txt", "top/e2.mkv"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for n, b := range c.have {
				makeFile(t, filepath.Join(dir, n), b)
			}
			names := tor.finish(t, Options{DataDir: dir, Hashes: tor})
			if !slices.Equal(names[:2], c.want) {
				t.Errorf("lies at %q, want %q", names, c.want)
			}
			got := tree(t, dir)
			for n, b := range c.have {
				if !slices.Contains(c.want, n) && got[n] != string(b) {
					t.Errorf("%s was changed", n)
				}
			}
			if got[c.want[0]] != string(info) || got[c.want[1]] != string(e2) {
				t.Error("the torrent is not complete")
			}
			if _, ok := got[path.Dir(c.want[0])+"/empty"]; !ok {
				t.Errorf("no empty file in %q", slices.Sorted(maps.Keys(got)))
			}
		})
	}
}

// A hidden name is used only if all of the torrent is there already.
func TestHiddenName(t *testing.T) {
	for _, name := range []string{".bashrc", ".ssh"} {
		tor := single(t, name, 50_000, 16<<10)
		dir := t.TempDir()
		if names := tor.finish(t, Options{DataDir: dir, Hashes: tor}); names[0] != "_"+name {
			t.Errorf("lies at %q", names[0])
		}
		dir = t.TempDir()
		makeFile(t, filepath.Join(dir, name), tor.data)
		if names := tor.finish(t, Options{DataDir: dir, Hashes: tor}); names[0] != name {
			t.Errorf("all is there, lies at %q", names[0])
		}
		dir = t.TempDir()
		makeFile(t, filepath.Join(dir, name), tor.data[:20_000])
		if names := tor.finish(t, Options{DataDir: dir, Hashes: tor}); names[0] != "_"+name || len(tree(t, dir)[name]) != 20_000 {
			t.Errorf("a part is there, lies at %q", names[0])
		}
		dir = t.TempDir()
		if names := tor.finish(t, Options{DataDir: dir}); names[0] != name {
			t.Errorf("told to overwrite, lies at %q", names[0])
		}
	}
}

// What comes to lie under a name after a clean stop is not ours, and what comes
// there while the store is open is not written to.
func TestFileThatComesLater(t *testing.T) {
	tor := newTorrent(t, 32<<10, entry{path: "one", size: 64 << 10}, entry{path: "two", size: 64 << 10})
	dir := t.TempDir()
	mine := bytes.Repeat([]byte("mine"), 1000)
	s := openStore(t, newCache(t, 0), tor, Options{DataDir: dir, Hashes: tor})
	tor.fetch(s, 0)
	syncStore(t, s)
	makeFile(t, filepath.Join(dir, "top/two"), mine)
	tor.fetch(s, 2)
	if err := s.Sync(t.Context()); !errors.Is(err, ErrForeign) {
		t.Errorf("sync: %v", err)
	}
	must(t, os.Rename(filepath.Join(dir, "top/two"), filepath.Join(dir, "away")))
	syncStore(t, s)
	closeStore(t, s)
	makeFile(t, filepath.Join(dir, "top/two"), mine)
	if names := tor.finish(t, Options{DataDir: dir, Hashes: tor}); names[1] != "top/two.1" || tree(t, dir)["top/two"] != string(mine) {
		t.Errorf("lies at %q", names)
	}
	// Once that is gone, all goes on under the name that was recorded.
	must(t, os.Remove(filepath.Join(dir, "top/two")))
	if names := tor.finish(t, Options{DataDir: dir, Hashes: tor}); names[1] != "top/two.1" {
		t.Errorf("then lies at %q", names)
	}
}

// A copy of an unfinished download goes on as it is.
func TestCopyOfOursIsOurs(t *testing.T) {
	tor := newTorrent(t, 256<<10, entry{path: "one", size: 64 << 10}, entry{path: "two", size: 400 << 10})
	dir, copied := t.TempDir(), t.TempDir()
	s := openStore(t, newCache(t, 0), tor, Options{DataDir: dir, Hashes: tor})
	s.Put(metainfo.Block{Piece: 0, Index: 0}, tor.block(0, 0)) // no hash vouches for it
	syncStore(t, s)
	closeStore(t, s)
	must(t, os.CopyFS(copied, os.DirFS(dir)))
	st, err := os.Stat(filepath.Join(dir, "top/one"))
	must(t, err)
	must(t, os.Chtimes(filepath.Join(copied, "top/one"), st.ModTime(), st.ModTime()))
	for _, d := range []string{dir, copied} {
		if names := tor.finish(t, Options{DataDir: d, Hashes: tor}); names[0] != "top/one" {
			t.Errorf("lies at %q", names)
		}
	}
}

// Somebody's file stays, whatever operation the program is killed or the power
// is cut at, and a kill leaves no file under yet another name.
func TestCrashesLeaveForeignFiles(t *testing.T) {
	tor := newTorrent(t, 2*metainfo.BlockSize, entry{path: "one", size: 70_000}, entry{path: "two", size: 1000})
	c := newCache(t, minMemory)
	mine := bytes.Repeat([]byte("mine"), 5000)
	begin := func() *crashfs.FS {
		disk := crashfs.New()
		must(t, disk.Mkdir("top", 0o755))
		rewrite(t, disk, "top/one", mine)
		f, err := disk.OpenFile("top/one", os.O_RDWR, 0)
		must(t, err)
		must(t, errors.Join(f.Sync(), disk.SyncDir("."), disk.SyncDir("top")))
		return disk
	}
	session := func(disk *crashfs.FS) {
		s, err := c.Open(tor.Info, Options{FS: disk, Hashes: tor})
		if err != nil {
			return
		}
		for p := range tor.NumPieces() {
			s.Put(metainfo.Block{Piece: p, Index: 0}, tor.block(p, 0))
			time.Sleep(150 * time.Millisecond)
			tor.fetch(s, p)
			time.Sleep(700 * time.Millisecond)
		}
		_ = s.Close()
	}
	total := 0
	synctest.Test(t, func(t *testing.T) {
		disk := begin()
		first := disk.Ops()
		session(disk)
		total = disk.Ops() - first
	})
	for at := range total * 3 {
		synctest.Test(t, func(t *testing.T) {
			disk := begin()
			rng := rand.New(rand.NewPCG(uint64(at), 3))
			disk.CutAt(1+at/3, rng)
			session(disk)
			next := disk.Kill()
			if mode := at % 3; mode == 1 {
				next = disk.Crash(nil)
			} else if mode == 2 {
				next = disk.Crash(rng)
			}
			time.Sleep(time.Minute)
			names := tor.finish(t, Options{FS: next, Hashes: tor})
			if at%3 == 0 && !slices.Equal(names, []string{"top.1/one", "top.1/two"}) {
				t.Errorf("killed at %d: lies at %q", at/3, names)
			}
			f, err := next.OpenFile("top/one", os.O_RDONLY, 0)
			must(t, err)
			got := make([]byte, len(mine)+1)
			if n, _ := f.ReadAt(got, 0); !bytes.Equal(got[:n], mine) {
				t.Errorf("crash %d at %d: the file was changed", at%3, at/3)
			}
		})
		if t.Failed() {
			return
		}
	}
}
