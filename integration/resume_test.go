//go:build linux

package integration

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// After a clean stop everything is found again: nothing is hashed, nothing is
// fetched, and nobody needs to be asked.
func TestResumeAfterCleanStop(t *testing.T) {
	t.Parallel()
	c := makeTree(t, 70).create(t)
	first := coldMount(t, c)
	first.complete()
	first.stop()
	m := mountAt(t, c.torrent, first.data, mountpoint(t), "--no-trackers")
	sameTree(t, c.root(), m.path(c.name))
	last := m.stop()
	if last.number("verified") != last.number("total") || last.number("downloaded") != 0 {
		t.Errorf("after the second run: %v", last)
	}
	if m.everLogged("status", func(r record) bool { return r.number("checking") > 0 }) {
		t.Error("it hashed data that it had already verified")
	}
}

// The same for a part of it: what was read is not fetched again.
func TestResumePartially(t *testing.T) {
	t.Parallel()
	const off, n = 3 << 20, 500_000
	c := makeFile(t, 16<<20, 71).create(t)
	s := seed(t, c.torrent, c.dir, "--no-trackers")
	first := mountTorrent(t, c.torrent, "--no-prefetch", "--no-trackers", "--peer", s.peer())
	readRange(t, c.root(), first.path(c.name), off, n)
	if last := first.stop(); last.number("verified") == last.number("total") {
		t.Fatal("everything was fetched; this would show nothing")
	}
	m := mountAt(t, c.torrent, first.data, mountpoint(t), "--no-prefetch", "--no-trackers") // nobody to ask
	readRange(t, c.root(), m.path(c.name), off, n)
	if last := m.stop(); last.number("downloaded") != 0 {
		t.Errorf("downloaded %d bytes from nobody", last.number("downloaded"))
	}
}

// After kill -9 in the middle, what is there is still of use, and every byte
// is right.
func TestResumeAfterKill(t *testing.T) {
	t.Parallel()
	c := makeFile(t, 16<<20, 72).create(t)
	s := seed(t, c.torrent, c.dir, "--no-trackers")
	first := mountTorrent(t, c.torrent, "--no-trackers", "--peer", s.peer(), "--max-download-rate", "8M/s")
	first.logged("status", func(r record) bool { return r.number("verified") > 4<<20 })
	first.signal(syscall.SIGKILL)
	first.wait()
	m := mountAt(t, c.torrent, first.data, first.dir, "--no-trackers", "--peer", s.peer())
	sameFile(t, c.root(), m.path(c.name))
	m.complete()
	m.stop()
	torrentfs(t, "verify", c.torrent, "--data-dir", first.data).run(t)
}

// Wrong bytes on disk are found by hashing and fetched again; they never leave
// through the mount.
func TestCorruptDataIsRepaired(t *testing.T) {
	t.Parallel()
	c := makeFile(t, 4<<20, 73).create(t)
	data := scratch(t)
	copied := filepath.Join(data, c.name)
	tool("cp", c.root(), copied).run(t)
	f, err := os.OpenFile(copied, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, off := range []int64{0, 1 << 20, 4<<20 - 1} {
		if _, err := f.WriteAt([]byte("#"), off); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	s := seed(t, c.torrent, c.dir, "--no-trackers")
	m := mountAt(t, c.torrent, data, mountpoint(t), "--no-trackers", "--peer", s.peer())
	sameFile(t, c.root(), m.path(c.name))
	m.complete()
	last := m.stop()
	if got := last.number("downloaded"); got < 3*pieceLength || got > 1<<20 {
		t.Errorf("%d bytes were downloaded, want the three pieces with wrong bytes, %d", got, 3*pieceLength)
	}
	torrentfs(t, "verify", c.torrent, "--data-dir", data).run(t)
}

// A download that is interrupted goes on where it was.
func TestDownloadResumes(t *testing.T) {
	t.Parallel()
	c := makeFile(t, 16<<20, 74).create(t)
	s := seed(t, c.torrent, c.dir, "--no-trackers")
	data := scratch(t)
	args := append([]string{"download", c.torrent, "--data-dir", data, "--no-trackers", "--peer", s.peer()}, logFlags...)
	first := torrentfs(t, append(args, "--max-download-rate", "8M/s")...).start(t)
	first.logged("status", func(r record) bool { return r.number("verified") > 4<<20 })
	first.signal(syscall.SIGINT)
	if code := first.wait(); code != 130 {
		t.Errorf("interrupted: exit code %d, want 130", code)
	}
	had := first.logged("stopped", nil).number("verified")
	second := torrentfs(t, args...).start(t).succeed()
	last := second.logged("stopped", nil)
	if got, most := last.number("downloaded"), last.number("total")-had+2*pieceLength; got > most {
		t.Errorf("the second run downloaded %d bytes, want at most %d", got, most)
	}
	sameFile(t, c.root(), filepath.Join(data, c.name))
}
