package cache

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"path/filepath"

	"torrentfs/cache/resume"
	"torrentfs/cache/vfs"
	"torrentfs/metainfo"
)

// locks are those of a store in its data folder.
type locks struct {
	s       *Store
	torrent io.Closer // nil: it is not held
	name    io.Closer // of the torrent's top-level name
	top     string    // that name, folded
}

func (k *locks) unlock() {
	for _, l := range []io.Closer{k.torrent, k.name} {
		if l != nil {
			_ = l.Close()
		}
	}
}

// lockTorrent takes the torrent's lock. If the folder cannot be written there
// is nothing to protect: what lies there can still be seeded. It stays
// unwritten for as long as the store is open, for then it is not locked either.
func (k *locks) lockTorrent() error {
	s := k.s
	err := s.fs.Mkdir(resume.StateDir, 0o755)
	switch {
	case err == nil:
		err = s.fs.SyncDir(".")
	case errors.Is(err, fs.ErrExist):
		err = nil
	}
	if err == nil {
		k.torrent, err = k.lock(s.resume.base + ".lock")
	}
	if readOnly(err) {
		s.log.Warn("data folder cannot be written: what lies there is only read", "folder", s.opt.DataDir, "err", err)
		s.resume.refused = err
		return nil
	}
	return err
}

// lockName takes the lock of a top-level name, which another torrent may
// share, instead of the one that is held.
func (k *locks) lockName(top string) error {
	s := k.s
	top = metainfo.FoldName(top)
	if s.resume.refused != nil || k.name != nil && k.top == top {
		return nil
	}
	sum := sha256.Sum256([]byte(top))
	l, err := k.lock(resume.StateDir + "/name-" + hex.EncodeToString(sum[:8]) + ".lock")
	if err != nil {
		return err
	}
	if k.name != nil {
		_ = k.name.Close()
	}
	k.name, k.top = l, top
	return nil
}

func (k *locks) lock(name string) (io.Closer, error) {
	s := k.s
	l, err := s.fs.Lock(name)
	if errors.Is(err, vfs.ErrLocked) {
		locked := &LockedError{File: filepath.Join(s.opt.DataDir, name)}
		if o := ownerOf(s.fs, name); o != nil {
			locked.PID, locked.Purpose = o.PID, o.Purpose
		}
		return nil, locked
	}
	if err == nil {
		k.signLock(name)
	}
	return l, err
}

func readOnly(err error) bool {
	return errors.Is(err, fs.ErrPermission) || isReadOnlyFS(err)
}
