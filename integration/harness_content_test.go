//go:build linux

package integration

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

// content is data and a torrent of it.
type content struct {
	dir     string // what --data-dir names
	name    string // the torrent's top-level entry in dir
	torrent string // .torrent file
}

// root is the original of what a mount shows at its root.
func (c content) root() string { return filepath.Join(c.dir, c.name) }

// info parses the torrent.
func (c content) info(t testing.TB) *metainfo.Info {
	t.Helper()
	data, err := os.ReadFile(c.torrent)
	if err != nil {
		t.Fatal(err)
	}
	mi, err := metainfo.Parse(data, metainfo.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return mi.Info
}

// pieceLength is small, so that small content has many pieces.
const pieceLength = 32 << 10

// treeFiles are the shapes that files have in torrents. At pieces of 32 KiB
// some files share a piece, some span several, one ends where a piece does.
var treeFiles = []struct {
	path string
	size int
}{
	{"README", 173},
	{"a one", 1},
	{"a two", 1},
	{"album/track 01.flac", 3*pieceLength + 17},
	{"album/track 02.flac", pieceLength},
	{"album/Größe – ☂ 傘 é́.flac", pieceLength + 1},
	{"album/nested/deep er/x", 2},
	{"empty", 0},
	{"film.bin", 2<<20 + 12345},
	{"program", 5000},
	{"zz/last", 16<<10 - 1},
	{"zz/last empty", 0},
}

// makeTree writes a directory with a file of every shape. The same seed gives
// the same bytes.
func makeTree(t testing.TB, seed uint64) content {
	t.Helper()
	c := content{dir: scratch(t), name: "träe ☂"}
	for i, f := range treeFiles {
		writeRandom(t, filepath.Join(c.root(), f.path), f.size, seed+uint64(i))
	}
	if err := os.Chmod(filepath.Join(c.root(), "program"), 0o755); err != nil {
		t.Fatal(err)
	}
	return c
}

// makeFile writes one file of random bytes.
func makeFile(t testing.TB, size int, seed uint64) content {
	t.Helper()
	c := content{dir: scratch(t), name: "film ☂.bin"}
	writeRandom(t, c.root(), size, seed)
	return c
}

func writeRandom(t testing.TB, name string, size int, seed uint64) {
	t.Helper()
	mkdir(t, filepath.Dir(name))
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

// makeLinkedTree is makeTree with links to a file and to a directory.
func makeLinkedTree(t testing.TB, seed uint64) content {
	t.Helper()
	c := makeTree(t, seed)
	for name, target := range map[string]string{"link": "program", "music": "album/nested"} {
		symlink(t, target, filepath.Join(c.root(), name))
	}
	return c
}

func symlink(t testing.TB, target, name string) {
	t.Helper()
	if err := os.Symlink(target, name); err != nil {
		t.Fatal(err)
	}
}

// create makes the torrent with our own program.
func (c content) create(t testing.TB, flags ...string) content {
	t.Helper()
	c.torrent = filepath.Join(scratch(t), "t.torrent")
	args := append([]string{"create", "-o", c.torrent, "--piece-length", fmt.Sprint(pieceLength), c.root()}, flags...)
	torrentfs(t, args...).run(t)
	return c
}

// createWithLibtorrent makes the torrent with libtorrent: v1, v1-pads, v2 or hybrid.
func (c content) createWithLibtorrent(t testing.TB, kind string) content {
	t.Helper()
	c.torrent = filepath.Join(scratch(t), "t.torrent")
	command{name: needPython(t), args: []string{
		"testdata/libtorrent_create.py", c.root(), c.torrent, kind, fmt.Sprint(pieceLength),
	}}.run(t)
	return c
}

// forOthers is a copy of the data as a client stores it that knows nothing of
// pads and links (BEP 47): pads are files of zeros for it, and links empty files.
func (c content) forOthers(t testing.TB) string {
	t.Helper()
	dir := scratch(t)
	for _, f := range c.info(t).Files {
		to := filepath.Join(dir, c.name, filepath.Join(f.Raw...))
		if f.Pad {
			to = filepath.Join(dir, c.name, ".pad", fmt.Sprint(f.Length)) // as BEP 47 suggests, and all do
		}
		mkdir(t, filepath.Dir(to))
		data := make([]byte, f.Length)
		if !f.Pad && f.Symlink == "" {
			var err error
			if data, err = os.ReadFile(filepath.Join(c.dir, f.Path)); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(to, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// sameTree compares two directories in every respect that a torrent has:
// names, types, sizes, link targets, executable bits and bytes. Both are read
// by other processes.
func sameTree(t testing.TB, want, got string) {
	t.Helper()
	if a, b := listing(t, want), listing(t, got); a != b {
		t.Errorf("the trees differ\nwant:\n%s\ngot:\n%s", a, b)
	}
	tool("diff", "--recursive", "--no-dereference", want, got).run(t)
}

func listing(t testing.TB, dir string) string {
	t.Helper()
	sh := tool("sh", "-c", `
		find . -type d -printf '%P/\n' -o -type l -printf '%P -> %l\n' -o -printf '%P %s\n' | sort
		echo executable: "$(find . -type f -perm /111 | sort)"`)
	sh.dir = dir
	return sh.run(t)
}

// sameFile compares two files byte for byte.
func sameFile(t testing.TB, want, got string) {
	t.Helper()
	tool("cmp", want, got).run(t)
}

// readRange reads n bytes of a file at an offset, and compares them with those
// of the original.
func readRange(t testing.TB, want, got string, off, n int64) {
	t.Helper()
	read := tool("dd", "if="+got, "status=none", "iflag=skip_bytes,count_bytes", "bs=64K",
		fmt.Sprintf("skip=%d", off), fmt.Sprintf("count=%d", n)).start(t).succeed().stdout.take()
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

// diskUsage is how many bytes a directory takes on disk.
func diskUsage(t testing.TB, dir string) int64 {
	t.Helper()
	var blocks int64
	if _, err := fmt.Sscan(strings.TrimSpace(tool("du", "-s", "-B1", dir).run(t)), &blocks); err != nil {
		t.Fatal(err)
	}
	return blocks
}

// sameBytes compares what libtorrent has downloaded with the original: files
// and links, pads left out. It does not care for executable bits.
func sameBytes(t testing.TB, c content, data string) {
	t.Helper()
	tool("diff", "--recursive", "--exclude=.pad", c.root(), filepath.Join(data, c.name)).run(t)
}

// withoutEmptyFiles removes the empty files below dir.
func withoutEmptyFiles(t testing.TB, dir string) string {
	t.Helper()
	tool("find", dir, "-type", "f", "-empty", "-delete").run(t)
	return dir
}
