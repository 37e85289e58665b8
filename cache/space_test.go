package cache

import (
	"errors"
	"sync/atomic"
	"syscall"
	"testing"

	"torrentfs/cache/vfs"
	"torrentfs/internal/crashfs"
)

// spaceFS says how much is free as the test wants it.
type spaceFS struct {
	vfs.FS
	total int64
	free  atomic.Int64
}

func (f *spaceFS) Space() (vfs.Space, error) {
	return vfs.Space{Total: f.total, Free: f.free.Load()}, nil
}

func TestRoom(t *testing.T) {
	tor := newTorrent(t, 32<<10, entry{path: "one", size: 64 << 10}, entry{path: "two", size: 128 << 10}, entry{path: "empty"})
	disk := &spaceFS{FS: crashfs.New(), total: 1 << 20}
	disk.free.Store(500 << 10)
	all := func(int) bool { return true }
	must(t, disk.Mkdir("top", 0o755))
	rewrite(t, disk.FS.(*crashfs.FS), "top/two", tor.data[64<<10:][:32<<10])
	truncate(t, disk.FS.(*crashfs.FS), "top/two", 128<<10) // the rest is a hole
	s := openStore(t, newCache(t, 0), tor, Options{FS: disk, KeepFree: 400 << 10})
	want := func(wanted func(int) bool, needed, free int64) {
		t.Helper()
		if r, err := s.Room(wanted); err != nil || r.Needed != needed || r.Free != free || r.Fits() != (needed <= free) {
			t.Errorf("%+v, %v; want %d needed and %d free", r, err, needed, free)
		}
	}
	want(all, 160<<10, 100<<10)
	want(func(i int) bool { return i == 0 }, 64<<10, 100<<10)
	disk.free.Store(600 << 10)
	want(all, 160<<10, 200<<10)
	tor.fetchAll(s)
	syncStore(t, s)
	want(all, 0, 200<<10)
	disk.free.Store(1)
	want(all, 0, 0)
}

// What is to be kept free stays free, as if the disk were full; and what has its
// place there already is written.
func TestReserveStaysFree(t *testing.T) {
	tor := newTorrent(t, 32<<10, entry{path: "one", size: 96 << 10})
	for _, c := range []struct{ keep, total, kept int64 }{
		{0, 100 << 20, 1 << 20},
		{0, 1 << 50, 1 << 30},
		{64 << 10, 1 << 50, 64 << 10},
	} {
		disk := &spaceFS{FS: crashfs.New(), total: c.total}
		disk.free.Store(c.kept + 32<<10)
		s := openStore(t, newCache(t, 0), tor, Options{FS: disk, KeepFree: c.keep})
		tor.fetch(s, 0)
		syncStore(t, s)
		disk.free.Store(c.kept + 32<<10 - 1)
		tor.fetch(s, 1)
		if err := s.Sync(t.Context()); !errors.Is(err, syscall.ENOSPC) || s.Dirty() == 0 || !s.Has(1) {
			t.Errorf("kept %d: %v, %d dirty", c.kept, err, s.Dirty())
		}
		invalidate(s, 0, ErrChanged)
		s.Discard(0)
		disk.free.Store(c.kept + 40<<10)
		syncStore(t, s)
		disk.free.Store(0)
		tor.fetch(s, 0) // over what was there
		syncStore(t, s)
		closeStore(t, s)
	}
	disk := &spaceFS{FS: crashfs.New(), total: 1 << 30}
	s := openStore(t, newCache(t, 0), tor, Options{FS: disk, KeepFree: -1})
	tor.fetchAll(s)
	syncStore(t, s)
	closeStore(t, s)
}
