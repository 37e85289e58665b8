//go:build linux

package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// makeSizes writes files of these sizes below one directory.
func makeSizes(t testing.TB, seed uint64, sizes ...int) content {
	t.Helper()
	c := content{dir: scratch(t), name: "sizes"}
	for i, n := range sizes {
		writeRandom(t, filepath.Join(c.root(), fmt.Sprintf("%02d of %d", i, n)), n, seed+uint64(i))
	}
	return c
}

// part is a copy of the content without its even or its odd files, and with
// some pieces of the last file zeroed, which are others for each of the two.
func (c content) part(t testing.TB, odd, piece int) string {
	t.Helper()
	dir := scratch(t)
	entries, err := os.ReadDir(c.root())
	if err != nil {
		t.Fatal(err)
	}
	mkdir(t, dir, c.name)
	for i, e := range entries {
		b, err := os.ReadFile(filepath.Join(c.root(), e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		switch half := len(b) / 2 / piece * piece; {
		case i == len(entries)-1:
			clear([][]byte{b[:half], b[half:]}[odd])
		case i%2 == odd:
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, c.name, e.Name()), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Between two libtorrents that hold a part each and do not know each other, we
// fetch from both, by the block and by the piece, and complete both; whatever
// the length of pieces, and of files around every boundary.
func TestV2PartialPeers(t *testing.T) {
	t.Parallel()
	for i, piece := range []int{16 << 10, 256 << 10, 16 << 20} {
		for _, version := range []string{"--v2", "--hybrid"} {
			t.Run(fmt.Sprintf("%s/%d", version, piece), func(t *testing.T) {
				t.Parallel()
				sizes := []int{0, 1, 16<<10 - 1, 16 << 10, 16<<10 + 1, piece - 1, piece, piece + 1, 3*piece + 40_000}
				if piece > 1<<20 {
					sizes = []int{0, 16<<10 + 1, 40_000, piece + 1, 2*piece + 50_000}
				}
				c := makeSizes(t, uint64(100+10*i), sizes...)
				c.torrent = filepath.Join(scratch(t), "t.torrent")
				torrentfs(t, "create", "-o", c.torrent, "--piece-length", fmt.Sprint(piece), c.root(), version).run(t)
				var parts [2]*libtorrent
				var data [2]string
				for odd := range 2 {
					data[odd] = c.part(t, odd, piece)
					parts[odd] = startLibtorrent(t, c.torrent, data[odd])
					parts[odd].status("has checked what it has", func(r record) bool { return r["state"] == "downloading" })
				}
				m := mountTorrent(t, c.torrent, "--no-trackers", "--peer", parts[0].peer(), "--peer", parts[1].peer())
				last := fmt.Sprintf("%02d of %d", len(sizes)-1, sizes[len(sizes)-1])
				for _, off := range []int{0, sizes[len(sizes)-1] - 30_000} {
					readRange(t, filepath.Join(c.root(), last), m.path(c.name, last), int64(off), 30_000)
				}
				sameTree(t, c.root(), m.path(c.name))
				m.complete()
				for odd, l := range parts {
					l.complete()
					sameBytes(t, c, data[odd])
				}
				m.stop()
			})
		}
	}
}
