//go:build linux

package integration

import (
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// mountOn mounts the torrent with its data on a disk, and peers to ask.
func mountOn(t testing.TB, c content, disk string, peers []*server, flags ...string) *mount {
	t.Helper()
	flags = slices.Concat([]string{"--no-trackers"}, flags)
	for _, p := range peers {
		flags = append(flags, "--peer", p.peer())
	}
	return mountAt(t, c.torrent, disk, mountpoint(t), flags...)
}

// completeOn is a disk that has all of the content, known to be right.
func completeOn(t testing.TB, c content, s *server) *faultyDisk {
	t.Helper()
	d := newFaultyDisk(t)
	m := mountOn(t, c, d.dir, []*server{s})
	m.complete()
	m.stop()
	return d
}

// found checks that everything is on the disk, and that the next start finds
// it there without asking anybody.
func (d *faultyDisk) found(c content) {
	d.t.Helper()
	sameFile(d.t, c.root(), filepath.Join(d.content, c.name))
	m := mountOn(d.t, c, d.dir, nil)
	m.complete()
	sameFile(d.t, c.root(), m.path(c.name))
	if last := m.stop(); last.number("downloaded") != 0 {
		d.t.Errorf("downloaded %d bytes from nobody", last.number("downloaded"))
	}
}

// complainsOnce checks that the log has said so far once that the disk fails.
func (m *mount) complainsOnce() {
	m.t.Helper()
	m.logged("disk fails", nil)
	if n := m.complaints(); n != 1 {
		m.t.Errorf("%d lines say that the disk fails, want one", n)
	}
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
			c := makeFile(t, 8<<20, 83).create(t)
			s := seed(t, c.torrent, c.dir, "--no-trackers")
			d := newFaultyDisk(t)
			m := mountOn(t, c, d.dir, []*server{s}, "--no-prefetch", "--read-ahead", "1MiB")
			readRange(t, c.root(), m.path(c.name), 0, 2<<20)
			d.fail(faults...)
			sameFile(t, c.root(), m.path(c.name))
			d.felt(1)
			sameFile(t, c.root(), m.path(c.name))
			m.complainsOnce()
			d.fail()
			m.logged("disk works again", nil)
			m.complete()
			m.stop()
			d.found(c)
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
			c := makeFile(t, 48<<20, 92).create(t)
			s := seed(t, c.torrent, c.dir, "--no-trackers")
			d := newFaultyDisk(t)
			d.fail("lose EIO")
			p := torrentfs(t, slices.Concat([]string{"download", c.torrent, "--data-dir", d.dir, "--no-trackers", "--peer", s.peer()}, flags)...).start(t)
			p.says("does not confirm", c.name)
			d.felt(2)
			if !p.running() {
				t.Error("download ended although the disk has lost what it took")
			}
			d.fail()
			p.says("checked again", c.name)
			p.succeed()
			sameFile(t, c.root(), filepath.Join(d.content, c.name))
			d.found(c)
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
			c := makeFile(t, 8<<20, 84).create(t)
			s := seed(t, c.torrent, c.dir, "--no-trackers")
			d := newFaultyDisk(t)
			m := mountOn(t, c, d.dir, []*server{s}, "--no-prefetch", "--read-ahead", "1MiB")
			if from > 0 {
				readRange(t, c.root(), m.path(c.name), 0, from)
			}
			d.fail("read EIO", "write EIO", "change EIO", "sync EIO")
			for range 2 {
				sameFile(t, c.root(), m.path(c.name))
			}
			m.complainsOnce()
			m.signal(syscall.SIGINT)
			if code := m.wait(); code != 5 {
				t.Errorf("exit code %d, want that of a failing disk", code)
			}
			if mounted(t, m.dir) {
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
			c := makeFile(t, 4<<20, 85).create(t)
			s := seed(t, c.torrent, c.dir, "--no-trackers")
			disk := smallDisk(t, "size=16m")
			if complete {
				tool("cp", c.root(), disk).run(t)
			}
			if err := unix.Mount("tmpfs", disk, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, "size=16m"); err != nil {
				t.Fatal(os.NewSyscallError("remount", err))
			}
			peers := []*server{s}
			if complete {
				peers = nil
			}
			m := mountOn(t, c, disk, peers)
			sameFile(t, c.root(), m.path(c.name))
			get := scratch(t)
			torrentfs(t, "download", c.torrent, "--data-dir", get, "--no-trackers", "--peer", m.peer()).run(t)
			sameFile(t, c.root(), filepath.Join(get, c.name))
			if complete {
				if n := m.complaints(); n != 0 {
					t.Errorf("%d lines say that the disk fails, though there was nothing to write", n)
				}
				m.stop()
				return
			}
			m.complainsOnce()
			m.signal(syscall.SIGINT)
			m.wait()
			if mounted(t, m.dir) {
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
			c := makeFile(t, 8<<20, 86).create(t)
			s := seed(t, c.torrent, c.dir, "--no-trackers")
			d := completeOn(t, c, s)
			m := mountOn(t, c, d.dir, []*server{s})
			m.complete()
			d.fail(faults...)
			get := scratch(t)
			torrentfs(t, "download", c.torrent, "--data-dir", get, "--no-trackers", "--peer", m.peer()).run(t)
			sameFile(t, c.root(), filepath.Join(get, c.name))
			d.felt(1)
			sameFile(t, c.root(), m.path(c.name))
			m.complainsOnce()
			d.fail()
			m.complete()
			m.stop()
			d.found(c)
		})
	}
}

// The only one who has a torrent serves all of it from a disk that fails now and then, be it in exact step with what is tried again.
func TestDiskFailsInStep(t *testing.T) {
	t.Parallel()
	for _, fault := range []string{"read EIO/3", "read EIO%2", "read EIO%3", "read EIO%7"} {
		t.Run(fault[len("read EIO"):], func(t *testing.T) {
			t.Parallel()
			c := makeFile(t, 8<<20, 89).create(t)
			d := completeOn(t, c, seed(t, c.torrent, c.dir, "--no-trackers"))
			m := mountOn(t, c, d.dir, nil)
			m.complete()
			d.fail(fault)
			get := scratch(t)
			torrentfs(t, "download", c.torrent, "--data-dir", get, "--no-trackers", "--peer", m.peer()).run(t)
			sameFile(t, c.root(), filepath.Join(get, c.name))
			sameFile(t, c.root(), m.path(c.name))
			d.felt(1)
			m.complainsOnce()
			d.fail()
			m.complete()
			m.stop()
			d.found(c)
		})
	}
}

// The only one who has a torrent loses nothing to a disk that does not read
// for a while: who reads or downloads meanwhile waits, and gets it.
func TestDiskReadsAgain(t *testing.T) {
	t.Parallel()
	c := makeFile(t, 4<<20, 87).create(t)
	d := completeOn(t, c, seed(t, c.torrent, c.dir, "--no-trackers"))
	m := mountOn(t, c, d.dir, nil)
	m.complete()
	d.fail("read EIO")
	cmp := tool("cmp", c.root(), m.path(c.name)).start(t)
	get := scratch(t)
	download := torrentfs(t, "download", c.torrent, "--data-dir", get, "--no-trackers", "--peer", m.peer()).start(t)
	d.felt(10)
	m.complainsOnce()
	d.fail()
	cmp.succeed()
	download.succeed()
	sameFile(t, c.root(), filepath.Join(get, c.name))
	m.complete()
	m.stop()
	d.found(c)
}

// A disk that takes its time: nobody who reads waits for a write or a sync, and
// the end of the mount loses nothing.
func TestDiskIsSlow(t *testing.T) {
	t.Parallel()
	c := makeFile(t, 16<<20, 88).create(t)
	s := seed(t, c.torrent, c.dir, "--no-trackers")
	d := newFaultyDisk(t)
	m := mountOn(t, c, d.dir, []*server{s})
	d.fail("write hold", "sync hold")
	for range 2 {
		sameFile(t, c.root(), m.path(c.name))
	}
	get := scratch(t) // and whoever downloads does not either
	torrentfs(t, "download", c.torrent, "--data-dir", get, "--no-trackers", "--peer", m.peer()).run(t)
	sameFile(t, c.root(), filepath.Join(get, c.name))
	if n := d.hits(); n == 0 {
		t.Error("nothing was written: this shows nothing")
	}
	d.fail("write 20ms", "read 20ms", "sync 2s", "change 200ms")
	m.complete()
	sameFile(t, c.root(), m.path(c.name))
	m.stop()
	d.fail()
	d.found(c)
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
			c := makeFile(t, 3<<20, 90).create(t)
			s := seed(t, c.torrent, c.dir, "--no-trackers")
			d := completeOn(t, c, s)
			if name != "reading" { // something is left to write
				if err := os.Truncate(filepath.Join(d.content, c.name), 1<<20); err != nil {
					t.Fatal(err)
				}
			}
			m := mountOn(t, c, d.dir, []*server{s}, "--no-prefetch", "--read-ahead", "1MiB")
			d.fail(faults...)
			for range 2 {
				sameFile(t, c.root(), m.path(c.name))
			}
			m.complainsOnce()
			m.says("disk fails", "no answer from the disk since")
			m.signal(syscall.SIGTERM)
			m.says("stop torrent", "no answer from the disk since", "ends when")
			if mounted(t, m.dir) {
				t.Error("still mounted")
			}
			d.fail() // the kernel lets nobody go before
			if code := m.wait(); code != 5 {
				t.Errorf("exit code %d, want that of a failing disk", code)
			}
		})
	}
}

// verify on a disk that does not answer says so, and has ended when the kernel lets it go.
func TestVerifyOnDiskThatHangs(t *testing.T) {
	t.Parallel()
	c := makeFile(t, 1<<20, 91).create(t)
	d := newFaultyDisk(t)
	tool("cp", c.root(), d.content).run(t)
	d.fail("read hold")
	p := torrentfs(t, "verify", c.torrent, "--data-dir", d.dir).start(t)
	p.says("no answer from the disk", d.dir)
	p.signal(syscall.SIGINT)
	p.says("interrupted")
	d.fail()
	if code := p.wait(); code != 130 {
		t.Errorf("exit code %d, want that of an interrupt", code)
	}
}
