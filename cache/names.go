package cache

import (
	"errors"
	"io/fs"
	"os"
	"slices"

	"torrentfs/cache/resume"
	"torrentfs/metainfo"
)

// loadNames returns the recorded names, nil if there is no record.
func (r *stateFiles) loadNames(files []metainfo.File) ([]string, error) {
	b, err := readFile(r.fs, r.base+resume.NamesSuffix, resume.MaxNames)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return resume.DecodeNames(b, files)
}

// saveNames makes the record say where the files lie: data, sync, rename, sync
// of the directory. There is none if all have their own names.
func (r *stateFiles) saveNames(files []metainfo.File, names []string) error {
	b := resume.EncodeNames(files, names)
	name := r.base + resume.NamesSuffix
	if slices.Equal(names, resume.OwnNames(files)) {
		err := r.fs.Remove(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			err = r.fs.SyncDir(resume.StateDir)
		}
		return err
	}
	f, err := r.fs.OpenFile(name+".tmp", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, 0)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = r.fs.Rename(name+".tmp", name)
	}
	if err == nil {
		err = r.fs.SyncDir(resume.StateDir)
	}
	return err
}
