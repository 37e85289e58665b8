//go:build linux

package integration

import (
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"
)

// A torrent that we seed is downloaded by another client. We connect to it, so
// that no tracker is needed.
func TestSeedsTo(t *testing.T) {
	t.Parallel()
	t.Run("transmission", func(t *testing.T) {
		eachKind(t, kinds, func(t *testing.T, c content) {
			data := scratch(t)
			d := startTransmission(t, c.torrent, data)
			seed(t, c.torrent, c.dir, "--no-trackers", "--peer", d.peer())
			d.complete()
			// Empty files are not worth a file to it: it has nothing to write.
			sameTree(t, withoutEmptyFiles(t, c.forOthers(t)), data)
		})
	})
	t.Run("libtorrent", func(t *testing.T) {
		eachKind(t, slices.Concat(kinds, hybridKinds), func(t *testing.T, c content) {
			data := scratch(t)
			l := startLibtorrent(t, c.torrent, data)
			seed(t, c.torrent, c.dir, "--no-trackers", "--peer", l.peer())
			l.complete()
			sameBytes(t, c, data)
		})
	})
	t.Run("aria2", func(t *testing.T) {
		eachKind(t, kinds, func(t *testing.T, c content) {
			data := scratch(t)
			a := startAria2(t, c.torrent, data)
			seed(t, c.torrent, c.dir, "--no-trackers", "--peer", a.peer())
			a.complete()
			a.signal(syscall.SIGTERM)
			a.wait()
			sameTree(t, c.forOthers(t), data)
		})
	})
}

// A mount that has completed seeds like any other client: from its data
// directory, to a client that knows it alone.
func TestCompletedMountSeeds(t *testing.T) {
	t.Parallel()
	c := makeTree(t, 20).create(t)
	origin := seed(t, c.torrent, c.dir, "--no-trackers")
	m := mountTorrent(t, c.torrent, "--no-trackers", "--peer", origin.peer())
	m.complete()
	origin.stop()
	data := scratch(t)
	l := startLibtorrent(t, c.torrent, data, "--peer", m.peer())
	l.complete()
	sameBytes(t, c, data)
	if last := m.stop(); last.number("uploaded") < last.number("total") {
		t.Errorf("the mount has uploaded %d of %d bytes", last.number("uploaded"), last.number("total"))
	}
}

// btfs, another torrent file system, reads what we seed; our tracker tells it
// where. It takes no connection from its own address, so there are two hosts.
func TestBtfsReadsFromUs(t *testing.T) {
	t.Parallel()
	need(t, "btfs")
	hosts := segment(t, "10.78.0.%d/24", 2)
	ours, theirs := hosts[0], hosts[1]
	tr := trackerAt(t, ours.on, "10.78.0.1")
	c := makeTree(t, 21).create(t, "--tracker", tr.http)
	ours.seed(c, 7001)
	tr.seeders(1)
	dir := mountpoint(t)
	b := theirs.on(command{
		name: "btfs", env: homeIn(scratch(t)), args: []string{"-f", "--data-directory=" + scratch(t), c.torrent, dir},
	}).start(t)
	t.Cleanup(func() {
		if mounted(t, dir) {
			if err := detach(dir); err != nil {
				t.Error(err)
			}
		}
	})
	top := filepath.Join(dir, c.name)
	eventually(t, "btfs shows the torrent", func() bool {
		return !b.running() || mounted(t, dir) && tool("test", "-d", top).start(t).wait() == 0
	})
	diff := tool("diff", "--recursive", c.root(), top).start(t)
	select {
	case <-diff.done:
	case <-time.After(patience - 5*time.Second):
		if !tr.everLogged("status", func(r record) bool { return r.number("leechers") > 0 }) {
			t.Skip("btfs did not ask its tracker once: it cannot know of us")
		}
	}
	diff.succeed()
}

// Several of our own clients, one of them with everything, share among each other.
func TestOwnSwarm(t *testing.T) {
	t.Parallel()
	tr := startTracker(t)
	c := makeFile(t, 8<<20, 22).create(t, "--tracker", tr.udp)
	origin := seed(t, c.torrent, c.dir)
	tr.seeders(1)
	var downloads []*process
	var dirs []string
	for range 3 {
		dir := scratch(t)
		p := torrentfs(t, slices.Concat([]string{"download", c.torrent, "--data-dir", dir}, logFlags)...).start(t)
		downloads, dirs = append(downloads, p), append(dirs, dir)
	}
	for i, p := range downloads {
		p.succeed()
		sameFile(t, c.root(), dirs[i]+"/"+c.name)
	}
	origin.stop()
}
