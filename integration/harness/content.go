//go:build linux

package harness

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"torrentfs/metainfo"
)

// Content is data and a torrent of it.
type Content struct {
	Dir     string // what --data-dir names
	Name    string // the torrent's top-level entry in dir
	Torrent string // .torrent file
}

// Root is the original of what a mount shows at its root.
func (c Content) Root() string { return filepath.Join(c.Dir, c.Name) }

// Info parses the torrent.
func (c Content) Info(t testing.TB) *metainfo.Info {
	t.Helper()
	data, err := os.ReadFile(c.Torrent)
	if err != nil {
		t.Fatal(err)
	}
	mi, err := metainfo.Parse(data, metainfo.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return mi.Info
}

// PieceLength is small, so that small content has many pieces.
const PieceLength = 32 << 10

// treeFiles are the shapes that files have in torrents. At pieces of 32 KiB
// some files share a piece, some span several, one ends where a piece does.
var treeFiles = []struct {
	path string
	size int
}{
	{"README", 173},
	{"a one", 1},
	{"a two", 1},
	{"album/track 01.flac", 3*PieceLength + 17},
	{"album/track 02.flac", PieceLength},
	{"album/Größe – ☂ 傘 é́.flac", PieceLength + 1},
	{"album/nested/deep er/x", 2},
	{"empty", 0},
	{"film.bin", 2<<20 + 12345},
	{"program", 5000},
	{"zz/last", 16<<10 - 1},
	{"zz/last empty", 0},
}

// MakeTree writes a directory with a file of every shape. The same seed gives
// the same bytes.
func MakeTree(t testing.TB, seed uint64) Content {
	t.Helper()
	c := Content{Dir: Scratch(t), Name: "träe ☂"}
	for i, f := range treeFiles {
		WriteRandom(t, filepath.Join(c.Root(), f.path), f.size, seed+uint64(i))
	}
	if err := os.Chmod(filepath.Join(c.Root(), "program"), 0o755); err != nil {
		t.Fatal(err)
	}
	return c
}

// MakeFile writes one file of random bytes.
func MakeFile(t testing.TB, size int, seed uint64) Content {
	t.Helper()
	c := Content{Dir: Scratch(t), Name: "film ☂.bin"}
	WriteRandom(t, c.Root(), size, seed)
	return c
}

func WriteRandom(t testing.TB, name string, size int, seed uint64) {
	t.Helper()
	Mkdir(t, filepath.Dir(name))
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	var key [32]byte
	copy(key[:], fmt.Append(nil, seed))
	if _, err := io.CopyN(f, rand.NewChaCha8(key), int64(size)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// MakeLinkedTree is makeTree with links to a file and to a directory.
func MakeLinkedTree(t testing.TB, seed uint64) Content {
	t.Helper()
	c := MakeTree(t, seed)
	for name, target := range map[string]string{"link": "program", "music": "album/nested"} {
		Symlink(t, target, filepath.Join(c.Root(), name))
	}
	return c
}

func Symlink(t testing.TB, target, name string) {
	t.Helper()
	if err := os.Symlink(target, name); err != nil {
		t.Fatal(err)
	}
}

// Create makes the torrent with our own program.
func (c Content) Create(t testing.TB, flags ...string) Content {
	t.Helper()
	c.Torrent = filepath.Join(Scratch(t), "t.torrent")
	args := append([]string{"create", "-o", c.Torrent, "--piece-length", fmt.Sprint(PieceLength), c.Root()}, flags...)
	Torrentfs(t, args...).Run(t)
	return c
}

// CreateWithLibtorrent makes the torrent with libtorrent: v1, v1-pads, v2 or hybrid.
func (c Content) CreateWithLibtorrent(t testing.TB, kind string) Content {
	t.Helper()
	c.Torrent = filepath.Join(Scratch(t), "t.torrent")
	Command{Name: NeedPython(t), Args: []string{
		TestData("libtorrent_create.py"), c.Root(), c.Torrent, kind, fmt.Sprint(PieceLength),
	}}.Run(t)
	return c
}

// ForOthers is a copy of the data as a client stores it that knows nothing of
// pads and links (BEP 47): pads are files of zeros for it, and links empty files.
func (c Content) ForOthers(t testing.TB) string {
	t.Helper()
	dir := Scratch(t)
	for _, f := range c.Info(t).Files {
		to := filepath.Join(dir, c.Name, filepath.Join(f.Raw...))
		if f.Pad {
			to = filepath.Join(dir, c.Name, ".pad", fmt.Sprint(f.Length)) // as BEP 47 suggests, and all do
		}
		Mkdir(t, filepath.Dir(to))
		data := make([]byte, f.Length)
		if !f.Pad && f.Symlink == "" {
			var err error
			if data, err = os.ReadFile(filepath.Join(c.Dir, f.Path)); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(to, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// SameTree compares two directories in every respect that a torrent has:
// names, types, sizes, link targets, executable bits and bytes. Both are read
// by other processes.
func SameTree(t testing.TB, want, got string) {
	t.Helper()
	if a, b := Listing(t, want), Listing(t, got); a != b {
		t.Errorf("the trees differ\nwant:\n%s\ngot:\n%s", a, b)
	}
	Tool("diff", "--recursive", "--no-dereference", want, got).Run(t)
}

func Listing(t testing.TB, dir string) string {
	t.Helper()
	sh := Tool("sh", "-c", `
		find . -type d -printf '%P/\n' -o -type l -printf '%P -> %l\n' -o -printf '%P %s\n' | sort
		echo executable: "$(find . -type f -perm /111 | sort)"`)
	sh.Dir = dir
	return sh.Run(t)
}

// SameFile compares two files byte for byte.
func SameFile(t testing.TB, want, got string) {
	t.Helper()
	Tool("cmp", want, got).Run(t)
}

// ReadRange reads n bytes of a file at an offset, and compares them with those
// of the original.
func ReadRange(t testing.TB, want, got string, off, n int64) {
	t.Helper()
	read := Tool("dd", "if="+got, "status=none", "iflag=skip_bytes,count_bytes", "bs=64K",
		fmt.Sprintf("skip=%d", off), fmt.Sprintf("count=%d", n)).Start(t).Succeed().Stdout.take()
	f, err := os.Open(want)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	expected := make([]byte, n)
	if _, err := f.ReadAt(expected, off); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(read, expected) {
		t.Errorf("%s: %d bytes at %d are not those of %s", got, n, off, want)
	}
}

// DiskUsage is how many bytes a directory takes on disk.
func DiskUsage(t testing.TB, dir string) int64 {
	t.Helper()
	var blocks int64
	if _, err := fmt.Sscan(strings.TrimSpace(Tool("du", "-s", "-B1", dir).Run(t)), &blocks); err != nil {
		t.Fatal(err)
	}
	return blocks
}

// SameBytes compares what libtorrent has downloaded with the original: files
// and links, pads left out. It does not care for executable bits.
func SameBytes(t testing.TB, c Content, data string) {
	t.Helper()
	Tool("diff", "--recursive", "--exclude=.pad", c.Root(), filepath.Join(data, c.Name)).Run(t)
}

// WithoutEmptyFiles removes the empty files below dir.
func WithoutEmptyFiles(t testing.TB, dir string) string {
	t.Helper()
	Tool("find", dir, "-type", "f", "-empty", "-delete").Run(t)
	return dir
}

// MagnetOf is a link with nothing but the info-hash.
func MagnetOf(t testing.TB, c Content) string {
	return (&metainfo.Magnet{Hash: c.Info(t).Hash}).String()
}

// Part is a copy of the content without its even or its odd files, and with
// some pieces of the last file zeroed, which are others for each of the two.
func (c Content) Part(t testing.TB, odd, piece int) string {
	t.Helper()
	dir := Scratch(t)
	entries, err := os.ReadDir(c.Root())
	if err != nil {
		t.Fatal(err)
	}
	Mkdir(t, dir, c.Name)
	for i, e := range entries {
		b, err := os.ReadFile(filepath.Join(c.Root(), e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		switch half := len(b) / 2 / piece * piece; {
		case i == len(entries)-1:
			clear([][]byte{b[:half], b[half:]}[odd])
		case i%2 == odd:
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, c.Name, e.Name()), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
