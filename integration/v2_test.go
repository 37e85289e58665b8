//go:build linux

package integration

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
)

// v2Kinds are torrents of v2 alone, which only libtorrent and we take here.
var v2Kinds = []kind{
	{"single file, v2", func(t testing.TB) content { return makeFile(t, 1<<20+1, 30).create(t, "--v2") }},
	{"one block, v2", func(t testing.TB) content { return makeFile(t, 16<<10, 31).create(t, "--v2") }},
	{"one piece, v2", func(t testing.TB) content { return makeFile(t, pieceLength, 32).create(t, "--v2") }},
	{"tree, v2", func(t testing.TB) content { return makeTree(t, 33).create(t, "--v2") }},
	{"tree, v2 by libtorrent", func(t testing.TB) content { return makeTree(t, 34).createWithLibtorrent(t, "v2") }},
	{"single file, v2 by libtorrent", func(t testing.TB) content { return makeFile(t, 3<<20+5, 35).createWithLibtorrent(t, "v2") }},
}

// Torrents of v2 go from libtorrent to us, from us to it, and from us to us.
func TestV2(t *testing.T) {
	t.Parallel()
	t.Run("from libtorrent", func(t *testing.T) {
		eachKind(t, v2Kinds, func(t *testing.T, c content) {
			l := startLibtorrent(t, c.torrent, c.dir)
			l.complete()
			readAll(t, c, l.peer())
		})
	})
	t.Run("to libtorrent", func(t *testing.T) {
		eachKind(t, v2Kinds, func(t *testing.T, c content) {
			data := scratch(t)
			l := startLibtorrent(t, c.torrent, data)
			seed(t, c.torrent, c.dir, "--no-trackers", "--peer", l.peer())
			l.complete()
			sameBytes(t, c, data)
		})
	})
	t.Run("between us", func(t *testing.T) {
		eachKind(t, v2Kinds, func(t *testing.T, c content) {
			readAll(t, c, seed(t, c.torrent, c.dir, "--no-trackers").peer())
		})
	})
}

// largePieces is content of a file in pieces of 16 MiB.
func largePieces(t testing.TB, flags ...string) content {
	t.Helper()
	c := makeFile(t, 40<<20+12345, 36)
	c.torrent = filepath.Join(scratch(t), "t.torrent")
	args := slices.Concat([]string{"create", "-o", c.torrent, "--piece-length", fmt.Sprint(16 << 20), c.root()}, flags)
	torrentfs(t, args...).run(t)
	return c
}

// directRange is readRange past the page cache: the kernel reads nothing ahead.
func directRange(t testing.TB, want, got string, off, n int64) {
	t.Helper()
	part := filepath.Join(scratch(t), "part")
	tool("dd", "if="+got, "of="+part, "status=none", "iflag=skip_bytes,count_bytes,direct", fmt.Sprintf("bs=%d", n),
		fmt.Sprintf("skip=%d", off), fmt.Sprintf("count=%d", n)).run(t)
	tool("cmp", fmt.Sprintf("--ignore-initial=%d:0", off), fmt.Sprintf("--bytes=%d", n), want, part).run(t)
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
					l := startLibtorrent(t, c.torrent, c.dir)
					l.complete()
					peer = l.peer()
				} else {
					peer = seed(t, c.torrent, c.dir, "--no-trackers").peer()
				}
				offsets := []int64{0, 5<<20 + 17, 16<<20 - 30_000, 33 << 20, 40<<20 - 50_000}
				data, dir := scratch(t), mountpoint(t)
				m := mountAt(t, c.torrent, data, dir, "--peer", peer, "--no-trackers", "--no-prefetch")
				for _, off := range offsets {
					directRange(t, c.root(), m.path(c.name), off, 60_000)
				}
				last := m.stop()
				if got, most := last.number("downloaded"), int64(len(offsets)*200_000); got > most || got == 0 {
					t.Errorf("%d bytes came for %d read", got, len(offsets)*60_000)
				}
				m = mountAt(t, c.torrent, data, mountpoint(t), "--no-trackers", "--no-prefetch")
				for _, off := range offsets {
					directRange(t, c.root(), m.path(c.name), off, 60_000)
				}
				if got := m.stop().number("downloaded"); got != 0 {
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
			l := startLibtorrent(t, c.torrent, c.dir)
			l.complete()
			m := mountTorrent(t, c.torrent, "--peer", l.peer(), "--no-trackers", "--no-prefetch")
			const seeks, n = 8, 64 << 10
			for i := range int64(seeks) {
				readRange(t, c.root(), m.path(c.name), (i*19+3)%40<<20, n)
			}
			if got := m.stop().number("downloaded"); got > 2*seeks*n || got < seeks*n {
				t.Errorf("%d bytes came for %d read", got, seeks*n)
			}
		})
	}
}
