//go:build linux

package interop

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"torrentfs/integration/harness"
)

// v2Kinds are torrents of v2 alone, which only libtorrent and we take here.
var v2Kinds = []kind{
	{"single file, v2", func(t testing.TB) harness.Content { return harness.MakeFile(t, 1<<20+1, 30).Create(t, "--v2") }},
	{"one block, v2", func(t testing.TB) harness.Content { return harness.MakeFile(t, 16<<10, 31).Create(t, "--v2") }},
	{"one piece, v2", func(t testing.TB) harness.Content {
		return harness.MakeFile(t, harness.PieceLength, 32).Create(t, "--v2")
	}},
	{"tree, v2", func(t testing.TB) harness.Content { return harness.MakeTree(t, 33).Create(t, "--v2") }},
	{"tree, v2 by libtorrent", func(t testing.TB) harness.Content { return harness.MakeTree(t, 34).CreateWithLibtorrent(t, "v2") }},
	{"single file, v2 by libtorrent", func(t testing.TB) harness.Content {
		return harness.MakeFile(t, 3<<20+5, 35).CreateWithLibtorrent(t, "v2")
	}},
}

// Torrents of v2 go from libtorrent to us, from us to it, and from us to us.
func TestV2(t *testing.T) {
	t.Parallel()
	t.Run("from libtorrent", func(t *testing.T) {
		eachKind(t, v2Kinds, func(t *testing.T, c harness.Content) {
			l := harness.StartLibtorrent(t, c.Torrent, c.Dir)
			l.Complete()
			readAll(t, c, l.Peer())
		})
	})
	t.Run("to libtorrent", func(t *testing.T) {
		eachKind(t, v2Kinds, func(t *testing.T, c harness.Content) {
			data := harness.Scratch(t)
			l := harness.StartLibtorrent(t, c.Torrent, data)
			harness.Seed(t, c.Torrent, c.Dir, "--no-trackers", "--peer", l.Peer())
			l.Complete()
			harness.SameBytes(t, c, data)
		})
	})
	t.Run("between us", func(t *testing.T) {
		eachKind(t, v2Kinds, func(t *testing.T, c harness.Content) {
			readAll(t, c, harness.Seed(t, c.Torrent, c.Dir, "--no-trackers").Peer())
		})
	})
}

// largePieces is content of a file in pieces of 16 MiB.
func largePieces(t testing.TB, flags ...string) harness.Content {
	t.Helper()
	c := harness.MakeFile(t, 40<<20+12345, 36)
	c.Torrent = filepath.Join(harness.Scratch(t), "t.torrent")
	args := slices.Concat([]string{"create", "-o", c.Torrent, "--piece-length", fmt.Sprint(16 << 20), c.Root()}, flags)
	harness.Torrentfs(t, args...).Run(t)
	return c
}

// directRange is readRange past the page cache: the kernel reads nothing ahead.
func directRange(t testing.TB, want, got string, off, n int64) {
	t.Helper()
	part := filepath.Join(harness.Scratch(t), "part")
	harness.Tool("dd", "if="+got, "of="+part, "status=none", "iflag=skip_bytes,count_bytes,direct", fmt.Sprintf("bs=%d", n),
		fmt.Sprintf("skip=%d", off), fmt.Sprintf("count=%d", n)).Run(t)
	harness.Tool("cmp", fmt.Sprintf("--ignore-initial=%d:0", off), fmt.Sprintf("--bytes=%d", n), want, part).Run(t)
}

// Small reads in pieces of 16 MiB are verified by themselves: they cost about
// their own bytes. What was read is there after a restart, without a peer.
func TestV2SmallReads(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"--v2", "--hybrid"} {
		for _, seeder := range []string{"libtorrent", "torrentfs"} {
			t.Run(version+"/"+seeder, func(t *testing.T) {
				t.Parallel()
				c := largePieces(t, version)
				var peer string
				if seeder == "libtorrent" {
					l := harness.StartLibtorrent(t, c.Torrent, c.Dir)
					l.Complete()
					peer = l.Peer()
				} else {
					peer = harness.Seed(t, c.Torrent, c.Dir, "--no-trackers").Peer()
				}
				offsets := []int64{0, 5<<20 + 17, 16<<20 - 30_000, 33 << 20, 40<<20 - 50_000}
				data, dir := harness.Scratch(t), harness.Mountpoint(t)
				m := harness.MountAt(t, c.Torrent, data, dir, "--peer", peer, "--no-trackers", "--no-prefetch")
				for _, off := range offsets {
					directRange(t, c.Root(), m.Path(c.Name), off, 60_000)
				}
				last := m.Stop()
				if got, most := last.Number("downloaded"), int64(len(offsets)*200_000); got > most || got == 0 {
					t.Errorf("%d bytes came for %d read", got, len(offsets)*60_000)
				}
				m = harness.MountAt(t, c.Torrent, data, harness.Mountpoint(t), "--no-trackers", "--no-prefetch")
				for _, off := range offsets {
					directRange(t, c.Root(), m.Path(c.Name), off, 60_000)
				}
				if got := m.Stop().Number("downloaded"); got != 0 {
					t.Errorf("%d bytes came again", got)
				}
			})
		}
	}
}

// Through the page cache, where the kernel asks for the pages of what we have not
// got one by one, a seek costs what it reads, too, and not its piece.
func TestV2SeeksCostWhatTheyRead(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"--v2", "--hybrid"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			c := largePieces(t, version)
			l := harness.StartLibtorrent(t, c.Torrent, c.Dir)
			l.Complete()
			m := harness.MountTorrent(t, c.Torrent, "--peer", l.Peer(), "--no-trackers", "--no-prefetch")
			const seeks, n = 8, 64 << 10
			for i := range int64(seeks) {
				harness.ReadRange(t, c.Root(), m.Path(c.Name), (i*19+3)%40<<20, n)
			}
			if got := m.Stop().Number("downloaded"); got > 2*seeks*n || got < seeks*n {
				t.Errorf("%d bytes came for %d read", got, seeks*n)
			}
		})
	}
}
