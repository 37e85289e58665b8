package cache

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"

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

// lockOwner is what the holder of a lock writes into it. Nobody trusts it
// unless such a process runs, and began when this one did: what a killed
// process has left claims nothing, and neither does that of another machine or
// container.
type Owner struct {
	PID     int    `json:"pid"`
	Started string `json:"started"` // see processStart
	Purpose string `json:"purpose"`
}

// maxOwnerBytes bounds what is read of a lock, which others may have written.
const MaxOwner = 4096

// signLock writes into a lock that this process holds it. Without that the
// next one hears less; so it is no error if it fails.
func (s *Store) signLock(name string) {
	started := processStart(os.Getpid())
	if s.opt.Purpose == "" || started == "" {
		return
	}
	data, err := json.Marshal(Owner{PID: os.Getpid(), Started: started, Purpose: s.opt.Purpose})
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
func ownerOf(disk vfs.FS, name string) *Owner {
	f, err := disk.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	data := make([]byte, MaxOwner)
	n, _ := f.ReadAt(data, 0)
	o, ok := DecodeOwner(data[:n])
	if !ok {
		return nil
	}
	if started := processStart(o.PID); started == "" || started != o.Started {
		return nil
	}
	return &o
}

// parseOwner reads what signLock wrote, or somebody else.
func DecodeOwner(data []byte) (o Owner, ok bool) {
	if err := json.NewDecoder(bytes.NewReader(data)).Decode(&o); err != nil || o.PID <= 0 || o.Purpose == "" {
		return Owner{}, false
	}
	return o, true
}
