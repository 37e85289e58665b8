//go:build linux

package integration

import (
	"path/filepath"
	"testing"
)

// What another client has downloaded is ours by hashing: nobody else is asked.
func TestAdoptsDataOf(t *testing.T) {
	t.Parallel()
	adopt := func(t *testing.T, c content, data string) {
		t.Helper()
		m := mountAt(t, c.torrent, data, mountpoint(t), "--no-trackers")
		sameTree(t, c.root(), m.path(c.name))
		if last := m.stop(); last.number("downloaded") != 0 {
			t.Errorf("downloaded %d bytes from nobody", last.number("downloaded"))
		}
	}
	t.Run("libtorrent", func(t *testing.T) {
		t.Parallel()
		c := makeTree(t, 80).create(t)
		data := scratch(t)
		l := startLibtorrent(t, c.torrent, data, "--peer", seed(t, c.torrent, c.dir, "--no-trackers").peer())
		l.complete()
		l.end()
		adopt(t, c, data)
	})
	t.Run("transmission", func(t *testing.T) {
		t.Parallel()
		c := makeTree(t, 81).create(t)
		data := scratch(t)
		d := startTransmission(t, c.torrent, data)
		seed(t, c.torrent, c.dir, "--no-trackers", "--peer", d.peer())
		d.complete()
		d.end()
		adopt(t, c, data)
	})
}

// What we have downloaded is another client's: it hashes all of it and is a seed.
func TestDataIsAdoptedBy(t *testing.T) {
	t.Parallel()
	for _, k := range []kind{
		{"tree", func(t testing.TB) content { return makeTree(t, 82).create(t) }},
		{"tree, hybrid", func(t testing.TB) content { return makeTree(t, 83).create(t, "--hybrid") }},
	} {
		t.Run("libtorrent, "+k.name, func(t *testing.T) {
			t.Parallel()
			c := k.make(t)
			l := startLibtorrent(t, c.torrent, downloaded(t, c), "--recheck")
			if s := l.complete(); s.number("downloaded") != 0 {
				t.Errorf("it downloaded: %v", s)
			}
		})
	}
	t.Run("transmission", func(t *testing.T) {
		t.Parallel()
		c := makeTree(t, 84).create(t)
		startTransmission(t, c.torrent, downloaded(t, c)).complete()
	})
}

// downloaded is a data directory that our mount has filled.
func downloaded(t *testing.T, c content) string {
	t.Helper()
	m := coldMount(t, c)
	m.complete()
	m.stop()
	sameTree(t, c.root(), filepath.Join(m.data, c.name))
	return m.data
}

// end ends a client, whatever it thinks of it.
func (p *process) end() {
	p.t.Helper()
	p.signal(9)
	p.wait()
}
