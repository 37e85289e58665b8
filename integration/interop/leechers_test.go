//go:build linux

package interop

import (
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"torrentfs/integration/harness"
)

// A torrent that we seed is downloaded by another client. We connect to it, so
// that no tracker is needed.
func TestSeedsTo(t *testing.T) {
	t.Parallel()
	t.Run("transmission", func(t *testing.T) {
		eachKind(t, kinds, func(t *testing.T, c harness.Content) {
			data := harness.Scratch(t)
			d := harness.StartTransmission(t, c.Torrent, data)
			harness.Seed(t, c.Torrent, c.Dir, "--no-trackers", "--peer", d.Peer())
			d.Complete()
			// Empty files are not worth a file to it: it has nothing to write.
			harness.SameTree(t, harness.WithoutEmptyFiles(t, c.ForOthers(t)), data)
		})
	})
	t.Run("libtorrent", func(t *testing.T) {
		eachKind(t, slices.Concat(kinds, hybridKinds), func(t *testing.T, c harness.Content) {
			data := harness.Scratch(t)
			l := harness.StartLibtorrent(t, c.Torrent, data)
			harness.Seed(t, c.Torrent, c.Dir, "--no-trackers", "--peer", l.Peer())
			l.Complete()
			harness.SameBytes(t, c, data)
		})
	})
	t.Run("aria2", func(t *testing.T) {
		eachKind(t, kinds, func(t *testing.T, c harness.Content) {
			data := harness.Scratch(t)
			a := harness.StartAria2(t, c.Torrent, data)
			harness.Seed(t, c.Torrent, c.Dir, "--no-trackers", "--peer", a.Peer())
			a.Complete()
			a.Signal(syscall.SIGTERM)
			a.Wait()
			harness.SameTree(t, c.ForOthers(t), data)
		})
	})
}

// A mount that has completed seeds like any other client: from its data
// directory, to a client that knows it alone.
func TestCompletedMountSeeds(t *testing.T) {
	t.Parallel()
	c := harness.MakeTree(t, 20).Create(t)
	origin := harness.Seed(t, c.Torrent, c.Dir, "--no-trackers")
	m := harness.MountTorrent(t, c.Torrent, "--no-trackers", "--peer", origin.Peer())
	m.Complete()
	origin.Stop()
	data := harness.Scratch(t)
	l := harness.StartLibtorrent(t, c.Torrent, data, "--peer", m.Peer())
	l.Complete()
	harness.SameBytes(t, c, data)
	if last := m.Stop(); last.Number("uploaded") < last.Number("total") {
		t.Errorf("the mount has uploaded %d of %d bytes", last.Number("uploaded"), last.Number("total"))
	}
}

// btfs, another torrent file system, reads what we seed; our tracker tells it
// where. It takes no connection from its own address, so there are two hosts.
func TestBtfsReadsFromUs(t *testing.T) {
	t.Parallel()
	harness.Need(t, "btfs")
	hosts := harness.Segment(t, "10.78.0.%d/24", 2)
	ours, theirs := hosts[0], hosts[1]
	tr := trackerAt(t, ours.On, "10.78.0.1")
	c := harness.MakeTree(t, 21).Create(t, "--tracker", tr.http)
	ours.Seed(c, 7001)
	tr.seeders(1)
	dir := harness.Mountpoint(t)
	b := theirs.On(harness.Command{
		Name: "btfs", Env: harness.HomeIn(harness.Scratch(t)), Args: []string{"-f", "--data-directory=" + harness.Scratch(t), c.Torrent, dir},
	}).Start(t)
	t.Cleanup(func() {
		if harness.Mounted(t, dir) {
			if err := harness.Detach(dir); err != nil {
				t.Error(err)
			}
		}
	})
	top := filepath.Join(dir, c.Name)
	harness.Eventually(t, "btfs shows the torrent", func() bool {
		return !b.Running() || harness.Mounted(t, dir) && harness.Tool("test", "-d", top).Start(t).Wait() == 0
	})
	diff := harness.Tool("diff", "--recursive", c.Root(), top).Start(t)
	select {
	case <-diff.Done:
	case <-time.After(harness.Patience - 5*time.Second):
		if !tr.EverLogged("status", func(r harness.Record) bool { return r.Number("leechers") > 0 }) {
			t.Skip("btfs did not ask its tracker once: it cannot know of us")
		}
	}
	diff.Succeed()
}

// Several of our own clients, one of them with everything, share among each other.
func TestOwnSwarm(t *testing.T) {
	t.Parallel()
	tr := startTracker(t)
	c := harness.MakeFile(t, 8<<20, 22).Create(t, "--tracker", tr.udp)
	origin := harness.Seed(t, c.Torrent, c.Dir)
	tr.seeders(1)
	var downloads []*harness.Process
	var dirs []string
	for range 3 {
		dir := harness.Scratch(t)
		p := harness.Torrentfs(t, slices.Concat([]string{"download", c.Torrent, "--data-dir", dir}, harness.LogFlags)...).Start(t)
		downloads, dirs = append(downloads, p), append(dirs, dir)
	}
	for i, p := range downloads {
		p.Succeed()
		harness.SameFile(t, c.Root(), dirs[i]+"/"+c.Name)
	}
	origin.Stop()
}
