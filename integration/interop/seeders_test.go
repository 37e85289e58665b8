//go:build linux

package interop

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"torrentfs/integration/harness"
)

// kind is one shape of torrent that clients exchange with us here.
type kind struct {
	name string
	make func(testing.TB) harness.Content
}

// kinds are those that every client can take, made by us or by libtorrent.
// Clients that know nothing of pads and links take them for ordinary files.
var kinds = []kind{
	{"single file", func(t testing.TB) harness.Content { return harness.MakeFile(t, 1<<20+1, 1).Create(t) }},
	{"one byte", func(t testing.TB) harness.Content { return harness.MakeFile(t, 1, 1).Create(t) }},
	{"tree", func(t testing.TB) harness.Content { return harness.MakeTree(t, 2).Create(t) }},
	{"tree, aligned", func(t testing.TB) harness.Content { return harness.MakeTree(t, 3).Create(t, "--align") }},
	{"tree with links", func(t testing.TB) harness.Content {
		c := harness.MakeLinkedTree(t, 4)
		// A link's target is relative to the link for us, to the torrent for libtorrent 2.0.8.
		harness.Symlink(t, "../README", filepath.Join(c.Root(), "album", "to readme"))
		return c.Create(t)
	}},
	{"tree, padded by libtorrent", func(t testing.TB) harness.Content { return harness.MakeTree(t, 5).CreateWithLibtorrent(t, "v1-pads") }},
}

// hybridKinds are for clients that take hybrids: Transmission 3.00 refuses
// them, and aria2 1.36 gets their info-hash wrong.
var hybridKinds = []kind{
	{"single file, hybrid", func(t testing.TB) harness.Content { return harness.MakeFile(t, 1<<20+1, 6).Create(t, "--hybrid") }},
	{"tree, hybrid", func(t testing.TB) harness.Content { return harness.MakeTree(t, 7).Create(t, "--hybrid") }},
	{"single file, hybrid by libtorrent", func(t testing.TB) harness.Content {
		return harness.MakeFile(t, 1<<20+1, 8).CreateWithLibtorrent(t, "hybrid")
	}},
	{"tree with links, hybrid by libtorrent", func(t testing.TB) harness.Content {
		return harness.MakeLinkedTree(t, 9).CreateWithLibtorrent(t, "hybrid")
	}},
}

// readAll mounts the torrent with one peer, and reads everything through the
// mount while it arrives.
func readAll(t *testing.T, c harness.Content, peer string) {
	t.Helper()
	m := harness.MountTorrent(t, c.Torrent, "--peer", peer, "--no-trackers")
	if st, err := os.Stat(c.Root()); err == nil && st.IsDir() {
		harness.SameTree(t, c.Root(), m.Path(c.Name))
	} else {
		harness.SameFile(t, c.Root(), m.Path(c.Name))
	}
	m.Complete()
	last := m.Stop()
	if got, want := last.Number("downloaded")-last.Number("wasted"), last.Number("total"); got < want {
		t.Errorf("complete with %d of %d bytes downloaded: where did the rest come from?", got, want)
	}
}

// A torrent that another client seeds is read through our mount.
func TestReadsFrom(t *testing.T) {
	t.Parallel()
	t.Run("transmission", func(t *testing.T) {
		eachKind(t, kinds, func(t *testing.T, c harness.Content) {
			d := harness.StartTransmission(t, c.Torrent, c.ForOthers(t))
			d.Complete()
			readAll(t, c, d.Peer())
		})
	})
	t.Run("libtorrent", func(t *testing.T) {
		eachKind(t, slices.Concat(kinds, hybridKinds), func(t *testing.T, c harness.Content) {
			l := harness.StartLibtorrent(t, c.Torrent, c.Dir)
			l.Complete()
			readAll(t, c, l.Peer())
		})
	})
	t.Run("aria2", func(t *testing.T) {
		eachKind(t, kinds, func(t *testing.T, c harness.Content) {
			readAll(t, c, harness.StartAria2(t, c.Torrent, c.ForOthers(t)).Peer())
		})
	})
	t.Run("torrentfs", func(t *testing.T) {
		eachKind(t, slices.Concat(kinds, hybridKinds), func(t *testing.T, c harness.Content) {
			readAll(t, c, harness.Seed(t, c.Torrent, c.Dir, "--no-trackers").Peer())
		})
	})
}

// eachKind runs a test for each kind of torrent.
func eachKind(t *testing.T, kinds []kind, test func(*testing.T, harness.Content)) {
	t.Parallel()
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			test(t, k.make(t))
		})
	}
}
