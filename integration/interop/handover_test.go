//go:build linux

package interop

import (
	"path/filepath"
	"testing"

	"torrentfs/integration/harness"
)

// What another client has downloaded is ours by hashing: nobody else is asked.
func TestAdoptsDataOf(t *testing.T) {
	t.Parallel()
	adopt := func(t *testing.T, c harness.Content, data string) {
		t.Helper()
		m := harness.MountAt(t, c.Torrent, data, harness.Mountpoint(t), "--no-trackers")
		harness.SameTree(t, c.Root(), m.Path(c.Name))
		if last := m.Stop(); last.Number("downloaded") != 0 {
			t.Errorf("downloaded %d bytes from nobody", last.Number("downloaded"))
		}
	}
	t.Run("libtorrent", func(t *testing.T) {
		t.Parallel()
		c := harness.MakeTree(t, 80).Create(t)
		data := harness.Scratch(t)
		l := harness.StartLibtorrent(t, c.Torrent, data, "--peer", harness.Seed(t, c.Torrent, c.Dir, "--no-trackers").Peer())
		l.Complete()
		l.Quit()
		adopt(t, c, data)
	})
	t.Run("transmission", func(t *testing.T) {
		t.Parallel()
		c := harness.MakeTree(t, 81).Create(t)
		data := harness.Scratch(t)
		d := harness.StartTransmission(t, c.Torrent, data)
		harness.Seed(t, c.Torrent, c.Dir, "--no-trackers", "--peer", d.Peer())
		d.Complete()
		d.Quit()
		adopt(t, c, data)
	})
}

// What we have downloaded is another client's: it hashes all of it and is a seed.
func TestDataIsAdoptedBy(t *testing.T) {
	t.Parallel()
	for _, k := range []kind{
		{"tree", func(t testing.TB) harness.Content { return harness.MakeTree(t, 82).Create(t) }},
		{"tree, hybrid", func(t testing.TB) harness.Content { return harness.MakeTree(t, 83).Create(t, "--hybrid") }},
	} {
		t.Run("libtorrent, "+k.name, func(t *testing.T) {
			t.Parallel()
			c := k.make(t)
			l := harness.StartLibtorrent(t, c.Torrent, downloaded(t, c), "--recheck")
			if s := l.Complete(); s.Number("downloaded") != 0 {
				t.Errorf("it downloaded: %v", s)
			}
		})
	}
	t.Run("transmission", func(t *testing.T) {
		t.Parallel()
		c := harness.MakeTree(t, 84).Create(t)
		harness.StartTransmission(t, c.Torrent, downloaded(t, c)).Complete()
	})
}

// downloaded is a data directory that our mount has filled.
func downloaded(t *testing.T, c harness.Content) string {
	t.Helper()
	m := harness.ColdMount(t, c)
	m.Complete()
	m.Stop()
	harness.SameTree(t, c.Root(), filepath.Join(m.Data, c.Name))
	return m.Data
}
