//go:build linux

package disk

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"torrentfs/integration/harness"
)

// After a clean stop everything is found again: nothing is hashed, nothing is
// fetched, and nobody needs to be asked.
func TestResumeAfterCleanStop(t *testing.T) {
	t.Parallel()
	c := harness.MakeTree(t, 70).Create(t)
	first := harness.ColdMount(t, c)
	first.Complete()
	first.Stop()
	m := harness.MountAt(t, c.Torrent, first.Data, harness.Mountpoint(t), "--no-trackers")
	harness.SameTree(t, c.Root(), m.Path(c.Name))
	last := m.Stop()
	if last.Number("verified") != last.Number("total") || last.Number("downloaded") != 0 {
		t.Errorf("after the second run: %v", last)
	}
	if m.EverLogged("status", func(r harness.Record) bool { return r.Number("checking") > 0 }) {
		t.Error("it hashed data that it had already verified")
	}
}

// The same for a part of it: what was read is not fetched again.
func TestResumePartially(t *testing.T) {
	t.Parallel()
	const off, n = 3 << 20, 500_000
	c := harness.MakeFile(t, 16<<20, 71).Create(t)
	s := harness.Seed(t, c.Torrent, c.Dir, "--no-trackers")
	first := harness.MountTorrent(t, c.Torrent, "--no-prefetch", "--no-trackers", "--peer", s.Peer())
	harness.ReadRange(t, c.Root(), first.Path(c.Name), off, n)
	if last := first.Stop(); last.Number("verified") == last.Number("total") {
		t.Fatal("everything was fetched; this would show nothing")
	}
	m := harness.MountAt(t, c.Torrent, first.Data, harness.Mountpoint(t), "--no-prefetch", "--no-trackers") // nobody to ask
	harness.ReadRange(t, c.Root(), m.Path(c.Name), off, n)
	if last := m.Stop(); last.Number("downloaded") != 0 {
		t.Errorf("downloaded %d bytes from nobody", last.Number("downloaded"))
	}
}

// After kill -9 in the middle, what is there is still of use, and every byte
// is right.
func TestResumeAfterKill(t *testing.T) {
	t.Parallel()
	c := harness.MakeFile(t, 16<<20, 72).Create(t)
	s := harness.Seed(t, c.Torrent, c.Dir, "--no-trackers")
	first := harness.MountTorrent(t, c.Torrent, "--no-trackers", "--peer", s.Peer(), "--max-download-rate", "8M/s")
	first.Logged("status", func(r harness.Record) bool { return r.Number("verified") > 4<<20 })
	first.Signal(syscall.SIGKILL)
	first.Wait()
	m := harness.MountAt(t, c.Torrent, first.Data, first.Dir, "--no-trackers", "--peer", s.Peer())
	harness.SameFile(t, c.Root(), m.Path(c.Name))
	m.Complete()
	m.Stop()
	harness.Torrentfs(t, "verify", c.Torrent, "--data-dir", first.Data).Run(t)
}

// Wrong bytes on disk are found by hashing and fetched again; they never leave
// through the mount.
func TestCorruptDataIsRepaired(t *testing.T) {
	t.Parallel()
	c := harness.MakeFile(t, 4<<20, 73).Create(t)
	data := harness.Scratch(t)
	copied := filepath.Join(data, c.Name)
	harness.Tool("cp", c.Root(), copied).Run(t)
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
	s := harness.Seed(t, c.Torrent, c.Dir, "--no-trackers")
	m := harness.MountAt(t, c.Torrent, data, harness.Mountpoint(t), "--no-trackers", "--peer", s.Peer())
	harness.SameFile(t, c.Root(), m.Path(c.Name))
	m.Complete()
	last := m.Stop()
	if got := last.Number("downloaded"); got < 3*harness.PieceLength || got > 1<<20 {
		t.Errorf("%d bytes were downloaded, want the three pieces with wrong bytes, %d", got, 3*harness.PieceLength)
	}
	harness.Torrentfs(t, "verify", c.Torrent, "--data-dir", data).Run(t)
}

// A download that is interrupted goes on where it was.
func TestDownloadResumes(t *testing.T) {
	t.Parallel()
	c := harness.MakeFile(t, 16<<20, 74).Create(t)
	s := harness.Seed(t, c.Torrent, c.Dir, "--no-trackers")
	data := harness.Scratch(t)
	args := append([]string{"download", c.Torrent, "--data-dir", data, "--no-trackers", "--peer", s.Peer()}, harness.LogFlags...)
	first := harness.Torrentfs(t, append(args, "--max-download-rate", "8M/s")...).Start(t)
	first.Logged("status", func(r harness.Record) bool { return r.Number("verified") > 4<<20 })
	first.Signal(syscall.SIGINT)
	if code := first.Wait(); code != 130 {
		t.Errorf("interrupted: exit code %d, want 130", code)
	}
	had := first.Logged("stopped", nil).Number("verified")
	second := harness.Torrentfs(t, args...).Start(t).Succeed()
	last := second.Logged("stopped", nil)
	if got, most := last.Number("downloaded"), last.Number("total")-had+2*harness.PieceLength; got > most {
		t.Errorf("the second run downloaded %d bytes, want at most %d", got, most)
	}
	harness.SameFile(t, c.Root(), filepath.Join(data, c.Name))
}
