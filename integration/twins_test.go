//go:build linux

package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// A torrent without a single peer is read from what another torrent left in
// the user's cache: the file has another name there, and other pieces. One that
// was spoiled since is noticed: what is right of it is taken, the rest is
// downloaded.
func TestTwins(t *testing.T) {
	t.Parallel()
	const size = 5<<20 + 4321
	a := makeFile(t, size, 71).create(t, "--v2")
	b := content{dir: scratch(t), name: "set"}
	writeRandom(t, filepath.Join(b.root(), "sub", "other name"), size, 71)
	writeRandom(t, filepath.Join(b.root(), "new"), 100_000, 72)
	b.torrent = filepath.Join(scratch(t), "b.torrent")
	torrentfs(t, slices.Concat([]string{"create", "-o", b.torrent, "--piece-length", fmt.Sprint(4 * pieceLength), b.root(), "--hybrid"})...).run(t)

	home := scratch(t)
	program := torrentfs(t)
	program.env = homeIn(home)
	first := filepath.Join(home, "cache", "torrentfs", "first")
	mkdir(t, first)
	m := startMount(t, program, a.torrent, first, mountpoint(t), "--peer", seed(t, a.torrent, a.dir, "--no-trackers").peer(), "--no-trackers")
	m.complete()
	m.stop()

	theirs, ours := filepath.Join("sub", "other name"), filepath.Join(b.root(), "sub", "other name")
	m = startMount(t, program, b.torrent, scratch(t), mountpoint(t), "--no-trackers")
	tool("cmp", ours, filepath.Join(m.path(b.name), theirs)).run(t)
	if last := m.stop(); last.number("downloaded") != 0 || last.number("taken") != size {
		t.Errorf("downloaded %d, taken %d", last.number("downloaded"), last.number("taken"))
	}

	f, err := os.OpenFile(filepath.Join(first, a.name), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("spoilt"), 3<<20); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	m = startMount(t, program, b.torrent, scratch(t), mountpoint(t), "--no-trackers", "--peer", seed(t, b.torrent, b.dir, "--no-trackers").peer())
	tool("cmp", ours, filepath.Join(m.path(b.name), theirs)).run(t)
	m.complete()
	if got := m.stop().number("taken"); got != size-4*pieceLength {
		t.Errorf("taken %d of %d, of which a piece was wrong", got, size)
	}
}
