package cache

import (
	"encoding/json"
	"fmt"
	"os"

	"torrentfs/cache/resume"
	"torrentfs/cache/vfs"
)

// LockedError says that a data folder is in use, and by whom if that is known.
// It wraps [ErrLocked].
type LockedError struct {
	File    string // the lock
	PID     int    // of the process that holds it; 0 if it is not known
	Purpose string // what that process does there, see [Options]
}

func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("%v: %s is held by a running torrentfs (or a torrent of the same name); stop that one or choose another data folder",
			ErrLocked, e.File)
	}
	return fmt.Sprintf("%v: %s is held by process %d (%s); stop that one or choose another data folder", ErrLocked, e.File, e.PID, e.Purpose)
}

// Unwrap returns [ErrLocked].
func (e *LockedError) Unwrap() error { return ErrLocked }

// signLock writes into a lock that this process holds it. Without that the
// next one hears less; so it is no error if it fails.
func (k *locks) signLock(name string) {
	s := k.s
	started := processStart(os.Getpid())
	if s.opt.Purpose == "" || started == "" {
		return
	}
	data, err := json.Marshal(resume.Owner{PID: os.Getpid(), Started: started, Purpose: s.opt.Purpose})
	if err != nil {
		return
	}
	f, err := s.fs.OpenFile(name, os.O_RDWR|os.O_TRUNC, 0o644)
	if err == nil {
		_, err = f.WriteVectorAt([][]byte{append(data, '\n')}, 0)
		_ = f.Close()
	}
	if err != nil {
		s.log.Debug("note who holds the lock", "file", name, "err", err)
	}
}

// ownerOf reads who holds a lock; nil unless that is certain.
func ownerOf(disk vfs.FS, name string) *resume.Owner {
	f, err := disk.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	data := make([]byte, resume.MaxOwner)
	n, _ := f.ReadAt(data, 0)
	o, ok := resume.DecodeOwner(data[:n])
	if !ok {
		return nil
	}
	if started := processStart(o.PID); started == "" || started != o.Started {
		return nil
	}
	return &o
}
