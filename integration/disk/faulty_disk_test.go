//go:build linux

package disk

import (
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"torrentfs/integration/harness"
)

// completeOn is a disk that has all of the content, known to be right.
func completeOn(t testing.TB, c harness.Content, s *harness.Server) *harness.FaultyDisk {
	t.Helper()
	d := harness.NewFaultyDisk(t)
	m := harness.MountOn(t, c, d.Dir, []*harness.Server{s})
	m.Complete()
	m.Stop()
	return d
}

// A disk that refuses to write in the middle of a download, then takes it all
// again: the mount shows every byte meanwhile, one line says what is wrong,
// and what came meanwhile is written, and found by the next start.
func TestDiskStopsWriting(t *testing.T) {
	t.Parallel()
	for name, faults := range map[string][]string{
		"read-only":             {"write EROFS", "change EROFS", "sync EROFS"},
		"input/output error":    {"write EIO", "change EIO", "sync EIO"},
		"nothing can be synced": {"sync EIO"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := harness.MakeFile(t, 8<<20, 83).Create(t)
			s := harness.Seed(t, c.Torrent, c.Dir, "--no-trackers")
			d := harness.NewFaultyDisk(t)
			m := harness.MountOn(t, c, d.Dir, []*harness.Server{s}, "--no-prefetch", "--read-ahead", "1MiB")
			harness.ReadRange(t, c.Root(), m.Path(c.Name), 0, 2<<20)
			d.Fail(faults...)
			harness.SameFile(t, c.Root(), m.Path(c.Name))
			d.Felt(1)
			harness.SameFile(t, c.Root(), m.Path(c.Name))
			m.ComplainsOnce()
			d.Fail()
			m.Logged("disk works again", nil)
			m.Complete()
			m.Stop()
			d.Found(c)
		})
	}
}

// A disk whose syncs fail for a while, and cost what they were to save: download
// ends only once all of it is there again, from memory or from the swarm.
func TestDiskLosesWhatItFailsToSync(t *testing.T) {
	t.Parallel()
	for name, flags := range map[string][]string{"in memory": nil, "in the swarm": {"--memory-limit", "48MiB"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := harness.MakeFile(t, 48<<20, 92).Create(t)
			s := harness.Seed(t, c.Torrent, c.Dir, "--no-trackers")
			d := harness.NewFaultyDisk(t)
			d.Fail("lose EIO")
			p := harness.Torrentfs(t, slices.Concat([]string{"download", c.Torrent, "--data-dir", d.Dir, "--no-trackers", "--peer", s.Peer()}, flags)...).Start(t)
			p.Says("does not confirm", c.Name)
			d.Felt(2)
			if !p.Running() {
				t.Error("download ended although the disk has lost what it took")
			}
			d.Fail()
			p.Says("checked again", c.Name)
			p.Succeed()
			harness.SameFile(t, c.Root(), filepath.Join(d.Content, c.Name))
			d.Found(c)
		})
	}
}

// A disk that never takes anything again, be it from the start or from the
// middle on: the mount lives from memory and from the swarm until it is told
// to stop, and then goes in time, saying what was lost.
func TestDiskDies(t *testing.T) {
	t.Parallel()
	for name, from := range map[string]int64{"from the start": 0, "in the middle": 3 << 20} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := harness.MakeFile(t, 8<<20, 84).Create(t)
			s := harness.Seed(t, c.Torrent, c.Dir, "--no-trackers")
			d := harness.NewFaultyDisk(t)
			m := harness.MountOn(t, c, d.Dir, []*harness.Server{s}, "--no-prefetch", "--read-ahead", "1MiB")
			if from > 0 {
				harness.ReadRange(t, c.Root(), m.Path(c.Name), 0, from)
			}
			d.Fail("read EIO", "write EIO", "change EIO", "sync EIO")
			for range 2 {
				harness.SameFile(t, c.Root(), m.Path(c.Name))
			}
			m.ComplainsOnce()
			m.Signal(syscall.SIGINT)
			if code := m.Wait(); code != 5 {
				t.Errorf("exit code %d, want that of a failing disk", code)
			}
			if harness.Mounted(t, m.Dir) {
				t.Error("still mounted")
			}
		})
	}
}

// A folder that cannot be written at all: what lies there is shown and seeded,
// what does not lives in memory alone.
func TestReadOnlyFolder(t *testing.T) {
	t.Parallel()
	for name, complete := range map[string]bool{"complete": true, "empty": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := harness.MakeFile(t, 4<<20, 85).Create(t)
			s := harness.Seed(t, c.Torrent, c.Dir, "--no-trackers")
			disk := smallDisk(t, "size=16m")
			if complete {
				harness.Tool("cp", c.Root(), disk).Run(t)
			}
			if err := unix.Mount("tmpfs", disk, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, "size=16m"); err != nil {
				t.Fatal(os.NewSyscallError("remount", err))
			}
			peers := []*harness.Server{s}
			if complete {
				peers = nil
			}
			m := harness.MountOn(t, c, disk, peers)
			harness.SameFile(t, c.Root(), m.Path(c.Name))
			get := harness.Scratch(t)
			harness.Torrentfs(t, "download", c.Torrent, "--data-dir", get, "--no-trackers", "--peer", m.Peer()).Run(t)
			harness.SameFile(t, c.Root(), filepath.Join(get, c.Name))
			if complete {
				if n := m.Complaints(); n != 0 {
					t.Errorf("%d lines say that the disk fails, though there was nothing to write", n)
				}
				m.Stop()
				return
			}
			m.ComplainsOnce()
			m.Signal(syscall.SIGINT)
			m.Wait()
			if harness.Mounted(t, m.Dir) {
				t.Error("still mounted")
			}
		})
	}
}

// A disk that does not read what it has: readers and peers get it from the
// swarm, through us.
func TestDiskStopsReading(t *testing.T) {
	t.Parallel()
	for name, faults := range map[string][]string{
		"nothing":         {"read EIO"},
		"here and there":  {"read EIO/3"},
		"each second":     {"read EIO%2"},
		"each third":      {"read EIO%3"},
		"and not writing": {"read EIO", "write EIO", "sync EIO"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := harness.MakeFile(t, 8<<20, 86).Create(t)
			s := harness.Seed(t, c.Torrent, c.Dir, "--no-trackers")
			d := completeOn(t, c, s)
			m := harness.MountOn(t, c, d.Dir, []*harness.Server{s})
			m.Complete()
			d.Fail(faults...)
			get := harness.Scratch(t)
			harness.Torrentfs(t, "download", c.Torrent, "--data-dir", get, "--no-trackers", "--peer", m.Peer()).Run(t)
			harness.SameFile(t, c.Root(), filepath.Join(get, c.Name))
			d.Felt(1)
			harness.SameFile(t, c.Root(), m.Path(c.Name))
			m.ComplainsOnce()
			d.Fail()
			m.Complete()
			m.Stop()
			d.Found(c)
		})
	}
}

// The only one who has a torrent serves all of it from a disk that fails now and then, be it in exact step with what is tried again.
func TestDiskFailsInStep(t *testing.T) {
	t.Parallel()
	for _, fault := range []string{"read EIO/3", "read EIO%2", "read EIO%3", "read EIO%7"} {
		t.Run(fault[len("read EIO"):], func(t *testing.T) {
			t.Parallel()
			c := harness.MakeFile(t, 8<<20, 89).Create(t)
			d := completeOn(t, c, harness.Seed(t, c.Torrent, c.Dir, "--no-trackers"))
			m := harness.MountOn(t, c, d.Dir, nil)
			m.Complete()
			d.Fail(fault)
			get := harness.Scratch(t)
			harness.Torrentfs(t, "download", c.Torrent, "--data-dir", get, "--no-trackers", "--peer", m.Peer()).Run(t)
			harness.SameFile(t, c.Root(), filepath.Join(get, c.Name))
			harness.SameFile(t, c.Root(), m.Path(c.Name))
			d.Felt(1)
			m.ComplainsOnce()
			d.Fail()
			m.Complete()
			m.Stop()
			d.Found(c)
		})
	}
}

// The only one who has a torrent loses nothing to a disk that does not read
// for a while: who reads or downloads meanwhile waits, and gets it.
func TestDiskReadsAgain(t *testing.T) {
	t.Parallel()
	c := harness.MakeFile(t, 4<<20, 87).Create(t)
	d := completeOn(t, c, harness.Seed(t, c.Torrent, c.Dir, "--no-trackers"))
	m := harness.MountOn(t, c, d.Dir, nil)
	m.Complete()
	d.Fail("read EIO")
	cmp := harness.Tool("cmp", c.Root(), m.Path(c.Name)).Start(t)
	get := harness.Scratch(t)
	download := harness.Torrentfs(t, "download", c.Torrent, "--data-dir", get, "--no-trackers", "--peer", m.Peer()).Start(t)
	d.Felt(10)
	m.ComplainsOnce()
	d.Fail()
	cmp.Succeed()
	download.Succeed()
	harness.SameFile(t, c.Root(), filepath.Join(get, c.Name))
	m.Complete()
	m.Stop()
	d.Found(c)
}

// A disk that takes its time: nobody who reads waits for a write or a sync, and
// the end of the mount loses nothing.
func TestDiskIsSlow(t *testing.T) {
	t.Parallel()
	c := harness.MakeFile(t, 16<<20, 88).Create(t)
	s := harness.Seed(t, c.Torrent, c.Dir, "--no-trackers")
	d := harness.NewFaultyDisk(t)
	m := harness.MountOn(t, c, d.Dir, []*harness.Server{s})
	d.Fail("write hold", "sync hold")
	for range 2 {
		harness.SameFile(t, c.Root(), m.Path(c.Name))
	}
	get := harness.Scratch(t) // and whoever downloads does not either
	harness.Torrentfs(t, "download", c.Torrent, "--data-dir", get, "--no-trackers", "--peer", m.Peer()).Run(t)
	harness.SameFile(t, c.Root(), filepath.Join(get, c.Name))
	if n := d.Hits(); n == 0 {
		t.Error("nothing was written: this shows nothing")
	}
	d.Fail("write 20ms", "read 20ms", "sync 2s", "change 200ms")
	m.Complete()
	harness.SameFile(t, c.Root(), m.Path(c.Name))
	m.Stop()
	d.Fail()
	d.Found(c)
}

// A disk that does not answer any more: what is in memory and in the swarm is
// shown all the same, one line says what hangs, and the end comes in time.
func TestDiskHangs(t *testing.T) {
	t.Parallel()
	for name, faults := range map[string][]string{
		"writing": {"write hold"},
		"syncing": {"sync hold"},
		"reading": {"read hold"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := harness.MakeFile(t, 3<<20, 90).Create(t)
			s := harness.Seed(t, c.Torrent, c.Dir, "--no-trackers")
			d := completeOn(t, c, s)
			if name != "reading" { // something is left to write
				if err := os.Truncate(filepath.Join(d.Content, c.Name), 1<<20); err != nil {
					t.Fatal(err)
				}
			}
			m := harness.MountOn(t, c, d.Dir, []*harness.Server{s}, "--no-prefetch", "--read-ahead", "1MiB")
			d.Fail(faults...)
			for range 2 {
				harness.SameFile(t, c.Root(), m.Path(c.Name))
			}
			m.ComplainsOnce()
			m.Says("disk fails", "no answer from the disk since")
			m.Signal(syscall.SIGTERM)
			m.Says("stop torrent", "no answer from the disk since", "ends when")
			if harness.Mounted(t, m.Dir) {
				t.Error("still mounted")
			}
			d.Fail() // the kernel lets nobody go before
			if code := m.Wait(); code != 5 {
				t.Errorf("exit code %d, want that of a failing disk", code)
			}
		})
	}
}

// verify on a disk that does not answer says so, and has ended when the kernel lets it go.
func TestVerifyOnDiskThatHangs(t *testing.T) {
	t.Parallel()
	c := harness.MakeFile(t, 1<<20, 91).Create(t)
	d := harness.NewFaultyDisk(t)
	harness.Tool("cp", c.Root(), d.Content).Run(t)
	d.Fail("read hold")
	p := harness.Torrentfs(t, "verify", c.Torrent, "--data-dir", d.Dir).Start(t)
	p.Says("no answer from the disk", d.Dir)
	p.Signal(syscall.SIGINT)
	p.Says("interrupted")
	d.Fail()
	if code := p.Wait(); code != 130 {
		t.Errorf("exit code %d, want that of an interrupt", code)
	}
}
