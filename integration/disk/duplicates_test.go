//go:build linux

package disk

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"torrentfs/integration/harness"
)

// A torrent without a single peer is read from what another torrent left in
// the user's cache: the file has another name there, and other pieces. One that
// was spoiled since is noticed: what is right of it is taken, the rest is
// downloaded.
func TestDuplicates(t *testing.T) {
	t.Parallel()
	const size = 5<<20 + 4321
	a := harness.MakeFile(t, size, 71).Create(t, "--v2")
	b := harness.Content{Dir: harness.Scratch(t), Name: "set"}
	harness.WriteRandom(t, filepath.Join(b.Root(), "sub", "other name"), size, 71)
	harness.WriteRandom(t, filepath.Join(b.Root(), "new"), 100_000, 72)
	b.Torrent = filepath.Join(harness.Scratch(t), "b.torrent")
	harness.Torrentfs(t, slices.Concat([]string{"create", "-o", b.Torrent, "--piece-length", fmt.Sprint(4 * harness.PieceLength), b.Root(), "--hybrid"})...).Run(t)

	home := harness.Scratch(t)
	program := harness.Torrentfs(t)
	program.Env = harness.HomeIn(home)
	first := filepath.Join(home, "cache", "torrentfs", "first")
	harness.Mkdir(t, first)
	m := harness.StartMount(t, program, a.Torrent, first, harness.Mountpoint(t), "--peer", harness.Seed(t, a.Torrent, a.Dir, "--no-trackers").Peer(), "--no-trackers")
	m.Complete()
	m.Stop()

	theirs, ours := filepath.Join("sub", "other name"), filepath.Join(b.Root(), "sub", "other name")
	m = harness.StartMount(t, program, b.Torrent, harness.Scratch(t), harness.Mountpoint(t), "--no-trackers")
	harness.Tool("cmp", ours, filepath.Join(m.Path(b.Name), theirs)).Run(t)
	if last := m.Stop(); last.Number("downloaded") != 0 || last.Number("taken") != size {
		t.Errorf("downloaded %d, taken %d", last.Number("downloaded"), last.Number("taken"))
	}

	f, err := os.OpenFile(filepath.Join(first, a.Name), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("spoilt"), 3<<20); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	m = harness.StartMount(t, program, b.Torrent, harness.Scratch(t), harness.Mountpoint(t), "--no-trackers", "--peer", harness.Seed(t, b.Torrent, b.Dir, "--no-trackers").Peer())
	harness.Tool("cmp", ours, filepath.Join(m.Path(b.Name), theirs)).Run(t)
	m.Complete()
	if got := m.Stop().Number("taken"); got != size-4*harness.PieceLength {
		t.Errorf("taken %d of %d, of which a piece was wrong", got, size)
	}
}
