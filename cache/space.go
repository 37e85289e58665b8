package cache

import (
	"fmt"
	"syscall"

	"torrentfs/cache/resume"
	"torrentfs/cache/vfs"
)

// mostKept bounds what is kept free by default.
const mostKept = 1 << 30

// diskSpace is the room on the file system of a data folder.
type diskSpace struct {
	fs   vfs.FS
	keep int64 // see [Options]
}

// keepFree is how much of the file system is left free, in bytes.
func (d *diskSpace) keepFree(sp vfs.Space) int64 {
	switch {
	case d.keep > 0:
		return d.keep
	case d.keep < 0:
		return 0
	}
	return min(sp.Total/100, mostKept)
}

// room fails if a write would take what is to be kept free. A range that has
// its place on the disk already may be written to.
func (d *diskSpace) room(f vfs.File, at, n int64) error {
	sp, err := d.fs.Space()
	if err != nil || sp.Total <= 0 {
		return nil //nolint:nilerr // the write itself will tell
	}
	kept := d.keepFree(sp)
	if kept == 0 || sp.Free-n >= kept {
		return nil
	}
	if start, end, err := f.NextData(at); err == nil && start <= at && end >= at+n {
		return nil
	}
	return fmt.Errorf("%w but the %d bytes that are kept free", syscall.ENOSPC, kept)
}

// Room is what a torrent needs of the disk, and what there is, in bytes.
type Room struct {
	Needed int64 // by what is wanted and has no place on the disk yet
	Free   int64 // without what is kept free
	Kept   int64
}

// Fits reports whether there is enough.
func (r Room) Fits() bool { return r.Needed <= r.Free }

// Room asks the file system about the wanted files.
func (s *Store) Room(wanted func(file int) bool) (Room, error) {
	if !s.guard.enter() {
		return Room{}, ErrClosed
	}
	defer s.guard.leave()
	sp, err := s.fs.Space()
	if err != nil {
		return Room{}, err
	}
	r := Room{Kept: s.space.keepFree(sp)}
	r.Free = max(0, sp.Free-r.Kept)
	for i := range s.lay.files {
		f := &s.lay.files[i]
		if !stored(f) || f.Length == 0 || s.complete.has(i) || !wanted(i) {
			continue
		}
		has := s.FileBytes(i) // a file system that compresses uses less for it
		s.mu.Lock()
		there := s.stats[i].Size != resume.FileMissing
		s.mu.Unlock()
		if there {
			if used, err := s.fs.Usage(f.Path); err == nil {
				has = max(has, used)
			}
		}
		r.Needed += max(0, f.Length-has)
	}
	return r, nil
}
