//go:build linux

package integration

import (
	"testing"

	"torrentfs/metainfo"
)

// magnetOf is a link with nothing but the info-hash.
func magnetOf(t testing.TB, c content) string {
	return (&metainfo.Magnet{Hash: c.info(t).Hash}).String()
}

// readAllBy mounts by whatever names the torrent and reads everything.
func readAllBy(t *testing.T, c content, torrent string, flags ...string) {
	t.Helper()
	m := mountTorrent(t, torrent, append([]string{"--no-trackers"}, flags...)...)
	sameTree(t, c.root(), m.path(c.name))
	m.complete()
	m.stop()
}

// A magnet link mounts: its metadata comes from other clients.
func TestMountsMagnetFrom(t *testing.T) {
	t.Parallel()
	t.Run("libtorrent", func(t *testing.T) {
		t.Parallel()
		c := makeTree(t, 30).create(t)
		l := startLibtorrent(t, c.torrent, c.dir)
		l.complete()
		readAllBy(t, c, magnetOf(t, c), "--peer", l.peer())
	})
	t.Run("libtorrent, hybrid", func(t *testing.T) {
		t.Parallel()
		c := makeTree(t, 31).create(t, "--hybrid")
		l := startLibtorrent(t, c.torrent, c.dir)
		l.complete()
		readAllBy(t, c, magnetOf(t, c), "--peer", l.peer())
	})
	t.Run("transmission", func(t *testing.T) {
		t.Parallel()
		c := makeTree(t, 32).create(t)
		d := startTransmission(t, c.torrent, c.forOthers(t))
		d.complete()
		readAllBy(t, c, magnetOf(t, c), "--peer", d.peer())
	})
}

// What we have of a magnet link's torrent we serve to those who have the link alone.
func TestServesMetadataToLibtorrent(t *testing.T) {
	t.Parallel()
	c := makeTree(t, 33).create(t)
	data := scratch(t)
	s := seed(t, c.torrent, c.dir, "--no-trackers")
	l := startLibtorrent(t, magnetOf(t, c), data, "--peer", s.peer())
	l.complete()
	sameBytes(t, c, data)
}

// A client that insists on encryption is a peer like any other, whoever dials.
func TestEncryptedLibtorrent(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"prefer", "require"} {
		t.Run("reads, "+policy, func(t *testing.T) {
			t.Parallel()
			c := makeTree(t, 34).create(t)
			l := startLibtorrent(t, c.torrent, c.dir, "--encrypted")
			l.complete()
			readAllBy(t, c, magnetOf(t, c), "--peer", l.peer(), "--encryption", policy)
		})
		t.Run("seeds, "+policy, func(t *testing.T) {
			t.Parallel()
			c := makeTree(t, 35).create(t)
			data := scratch(t)
			s := seed(t, c.torrent, c.dir, "--no-trackers", "--encryption", policy)
			l := startLibtorrent(t, c.torrent, data, "--encrypted", "--peer", s.peer())
			l.complete()
			sameBytes(t, c, data)
		})
	}
}

// A client that has no TCP is reached by uTP, and reaches us by it.
func TestUTPLibtorrent(t *testing.T) {
	t.Parallel()
	t.Run("reads", func(t *testing.T) {
		t.Parallel()
		c := makeTree(t, 36).create(t)
		l := startLibtorrent(t, c.torrent, c.dir, "--utp")
		l.complete()
		readAllBy(t, c, magnetOf(t, c), "--peer", l.peer())
	})
	t.Run("seeds", func(t *testing.T) {
		t.Parallel()
		c := makeTree(t, 37).create(t)
		data := scratch(t)
		s := seed(t, c.torrent, c.dir, "--no-trackers")
		l := startLibtorrent(t, c.torrent, data, "--utp", "--peer", s.peer())
		l.complete()
		sameBytes(t, c, data)
	})
}

// Who knows a peer that has nothing hears from it of one that has.
func TestPEXFromLibtorrent(t *testing.T) {
	t.Parallel()
	c := makeTree(t, 38).create(t)
	s := seed(t, c.torrent, c.dir, "--no-trackers", "--max-upload-rate", "20K/s")
	middle := startLibtorrent(t, c.torrent, scratch(t), "--pex", "--peer", s.peer())
	middle.status("connected", func(r record) bool { return r.number("peers") > 0 })
	m := mountTorrent(t, c.torrent, "--no-trackers", "--no-prefetch", "--peer", middle.peer(), "--log-level", "debug")
	m.logged("status", func(r record) bool { return r.number("peers") >= 2 })
	m.stop()
}
