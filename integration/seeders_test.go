//go:build linux

package integration

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// kind is one shape of torrent that clients exchange with us here.
type kind struct {
	name string
	make func(testing.TB) content
}

// kinds are those that every client can take, made by us or by libtorrent.
// Clients that know nothing of pads and links take them for ordinary files.
var kinds = []kind{
	{"single file", func(t testing.TB) content { return makeFile(t, 1<<20+1, 1).create(t) }},
	{"one byte", func(t testing.TB) content { return makeFile(t, 1, 1).create(t) }},
	{"tree", func(t testing.TB) content { return makeTree(t, 2).create(t) }},
	{"tree, aligned", func(t testing.TB) content { return makeTree(t, 3).create(t, "--align") }},
	{"tree with links", func(t testing.TB) content {
		c := makeLinkedTree(t, 4)
		// A link's target is relative to the link for us, to the torrent for libtorrent 2.0.8.
		symlink(t, "../README", filepath.Join(c.root(), "album", "to readme"))
		return c.create(t)
	}},
	{"tree, padded by libtorrent", func(t testing.TB) content { return makeTree(t, 5).createWithLibtorrent(t, "v1-pads") }},
}

// hybridKinds are for clients that take hybrids: Transmission 3.00 refuses
// them, and aria2 1.36 gets their info-hash wrong.
var hybridKinds = []kind{
	{"single file, hybrid", func(t testing.TB) content { return makeFile(t, 1<<20+1, 6).create(t, "--hybrid") }},
	{"tree, hybrid", func(t testing.TB) content { return makeTree(t, 7).create(t, "--hybrid") }},
	{"single file, hybrid by libtorrent", func(t testing.TB) content { return makeFile(t, 1<<20+1, 8).createWithLibtorrent(t, "hybrid") }},
	{"tree with links, hybrid by libtorrent", func(t testing.TB) content { return makeLinkedTree(t, 9).createWithLibtorrent(t, "hybrid") }},
}

// readAll mounts the torrent with one peer, and reads everything through the
// mount while it arrives.
func readAll(t *testing.T, c content, peer string) {
	t.Helper()
	m := mountTorrent(t, c.torrent, "--peer", peer, "--no-trackers")
	if st, err := os.Stat(c.root()); err == nil && st.IsDir() {
		sameTree(t, c.root(), m.path(c.name))
	} else {
		sameFile(t, c.root(), m.path(c.name))
	}
	m.complete()
	last := m.stop()
	if got, want := last.number("downloaded")-last.number("wasted"), last.number("total"); got < want {
		t.Errorf("complete with %d of %d bytes downloaded: where did the rest come from?", got, want)
	}
}

// A torrent that another client seeds is read through our mount.
func TestReadsFrom(t *testing.T) {
	t.Parallel()
	t.Run("transmission", func(t *testing.T) {
		eachKind(t, kinds, func(t *testing.T, c content) {
			d := startTransmission(t, c.torrent, c.forOthers(t))
			d.complete()
			readAll(t, c, d.peer())
		})
	})
	t.Run("libtorrent", func(t *testing.T) {
		eachKind(t, slices.Concat(kinds, hybridKinds), func(t *testing.T, c content) {
			l := startLibtorrent(t, c.torrent, c.dir)
			l.complete()
			readAll(t, c, l.peer())
		})
	})
	t.Run("aria2", func(t *testing.T) {
		eachKind(t, kinds, func(t *testing.T, c content) {
			readAll(t, c, startAria2(t, c.torrent, c.forOthers(t)).peer())
		})
	})
	t.Run("torrentfs", func(t *testing.T) {
		eachKind(t, slices.Concat(kinds, hybridKinds), func(t *testing.T, c content) {
			readAll(t, c, seed(t, c.torrent, c.dir, "--no-trackers").peer())
		})
	})
}

// eachKind runs a test for each kind of torrent.
func eachKind(t *testing.T, kinds []kind, test func(*testing.T, content)) {
	t.Parallel()
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			test(t, k.make(t))
		})
	}
}
