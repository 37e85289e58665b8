//go:build linux

package interop

import (
	"fmt"
	"path/filepath"
	"testing"

	"torrentfs/integration/harness"
)

// makeSizes writes files of these sizes below one directory.
func makeSizes(t testing.TB, seed uint64, sizes ...int) harness.Content {
	t.Helper()
	c := harness.Content{Dir: harness.Scratch(t), Name: "sizes"}
	for i, n := range sizes {
		harness.WriteRandom(t, filepath.Join(c.Root(), fmt.Sprintf("%02d of %d", i, n)), n, seed+uint64(i))
	}
	return c
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
				c.Torrent = filepath.Join(harness.Scratch(t), "t.torrent")
				harness.Torrentfs(t, "create", "-o", c.Torrent, "--piece-length", fmt.Sprint(piece), c.Root(), version).Run(t)
				var parts [2]*harness.Libtorrent
				var data [2]string
				for odd := range 2 {
					data[odd] = c.Part(t, odd, piece)
					parts[odd] = harness.StartLibtorrent(t, c.Torrent, data[odd])
					parts[odd].Status("has checked what it has", func(r harness.Record) bool { return r["state"] == "downloading" })
				}
				m := harness.MountTorrent(t, c.Torrent, "--no-trackers", "--peer", parts[0].Peer(), "--peer", parts[1].Peer())
				last := fmt.Sprintf("%02d of %d", len(sizes)-1, sizes[len(sizes)-1])
				for _, off := range []int{0, sizes[len(sizes)-1] - 30_000} {
					harness.ReadRange(t, filepath.Join(c.Root(), last), m.Path(c.Name, last), int64(off), 30_000)
				}
				harness.SameTree(t, c.Root(), m.Path(c.Name))
				m.Complete()
				for odd, l := range parts {
					l.Complete()
					harness.SameBytes(t, c, data[odd])
				}
				m.Stop()
			})
		}
	}
}
