//go:build linux

package interop

import (
	"testing"

	"torrentfs/integration/harness"
)

// readAllBy mounts by whatever names the torrent and reads everything.
func readAllBy(t *testing.T, c harness.Content, torrent string, flags ...string) {
	t.Helper()
	m := harness.MountTorrent(t, torrent, append([]string{"--no-trackers"}, flags...)...)
	harness.SameTree(t, c.Root(), m.Path(c.Name))
	m.Complete()
	m.Stop()
}

// A magnet link mounts: its metadata comes from other clients.
func TestMountsMagnetFrom(t *testing.T) {
	t.Parallel()
	t.Run("libtorrent", func(t *testing.T) {
		t.Parallel()
		c := harness.MakeTree(t, 30).Create(t)
		l := harness.StartLibtorrent(t, c.Torrent, c.Dir)
		l.Complete()
		readAllBy(t, c, harness.MagnetOf(t, c), "--peer", l.Peer())
	})
	t.Run("libtorrent, hybrid", func(t *testing.T) {
		t.Parallel()
		c := harness.MakeTree(t, 31).Create(t, "--hybrid")
		l := harness.StartLibtorrent(t, c.Torrent, c.Dir)
		l.Complete()
		readAllBy(t, c, harness.MagnetOf(t, c), "--peer", l.Peer())
	})
	t.Run("transmission", func(t *testing.T) {
		t.Parallel()
		c := harness.MakeTree(t, 32).Create(t)
		d := harness.StartTransmission(t, c.Torrent, c.ForOthers(t))
		d.Complete()
		readAllBy(t, c, harness.MagnetOf(t, c), "--peer", d.Peer())
	})
}

// What we have of a magnet link's torrent we serve to those who have the link alone.
func TestServesMetadataToLibtorrent(t *testing.T) {
	t.Parallel()
	c := harness.MakeTree(t, 33).Create(t)
	data := harness.Scratch(t)
	s := harness.Seed(t, c.Torrent, c.Dir, "--no-trackers")
	l := harness.StartLibtorrent(t, harness.MagnetOf(t, c), data, "--peer", s.Peer())
	l.Complete()
	harness.SameBytes(t, c, data)
}

// A client that insists on encryption is a peer like any other, whoever dials.
func TestEncryptedLibtorrent(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"prefer", "require"} {
		t.Run("reads, "+policy, func(t *testing.T) {
			t.Parallel()
			c := harness.MakeTree(t, 34).Create(t)
			l := harness.StartLibtorrent(t, c.Torrent, c.Dir, "--encrypted")
			l.Complete()
			readAllBy(t, c, harness.MagnetOf(t, c), "--peer", l.Peer(), "--encryption", policy)
		})
		t.Run("seeds, "+policy, func(t *testing.T) {
			t.Parallel()
			c := harness.MakeTree(t, 35).Create(t)
			data := harness.Scratch(t)
			s := harness.Seed(t, c.Torrent, c.Dir, "--no-trackers", "--encryption", policy)
			l := harness.StartLibtorrent(t, c.Torrent, data, "--encrypted", "--peer", s.Peer())
			l.Complete()
			harness.SameBytes(t, c, data)
		})
	}
}

// A client that has no TCP is reached by uTP, and reaches us by it.
func TestUTPLibtorrent(t *testing.T) {
	t.Parallel()
	t.Run("reads", func(t *testing.T) {
		t.Parallel()
		c := harness.MakeTree(t, 36).Create(t)
		l := harness.StartLibtorrent(t, c.Torrent, c.Dir, "--utp")
		l.Complete()
		readAllBy(t, c, harness.MagnetOf(t, c), "--peer", l.Peer())
	})
	t.Run("seeds", func(t *testing.T) {
		t.Parallel()
		c := harness.MakeTree(t, 37).Create(t)
		data := harness.Scratch(t)
		s := harness.Seed(t, c.Torrent, c.Dir, "--no-trackers")
		l := harness.StartLibtorrent(t, c.Torrent, data, "--utp", "--peer", s.Peer())
		l.Complete()
		harness.SameBytes(t, c, data)
	})
}

// Who knows a peer that has nothing hears from it of one that has.
func TestPEXFromLibtorrent(t *testing.T) {
	t.Parallel()
	c := harness.MakeTree(t, 38).Create(t)
	s := harness.Seed(t, c.Torrent, c.Dir, "--no-trackers", "--max-upload-rate", "20K/s")
	middle := harness.StartLibtorrent(t, c.Torrent, harness.Scratch(t), "--pex", "--peer", s.Peer())
	middle.Status("connected", func(r harness.Record) bool { return r.Number("peers") > 0 })
	m := harness.MountTorrent(t, c.Torrent, "--no-trackers", "--no-prefetch", "--peer", middle.Peer(), "--log-level", "debug")
	m.Logged("status", func(r harness.Record) bool { return r.Number("peers") >= 2 })
	m.Stop()
}
