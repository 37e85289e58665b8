package cache

import (
	"fmt"
	"io/fs"
	"sync/atomic"
	"syscall"
	"testing"

	"torrentfs/cache/vfs"
)

// fewFiles is a disk on which only so many files may be open.
type fewFiles struct {
	vfs.FS
	limit int64
	open  atomic.Int64
}

func (f *fewFiles) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	if f.open.Add(1) > f.limit {
		f.open.Add(-1)
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EMFILE}
	}
	file, err := f.FS.OpenFile(name, flag, perm)
	if err != nil {
		f.open.Add(-1)
		return nil, err
	}
	return &countedFile{File: file, open: &f.open}, nil
}

type countedFile struct {
	vfs.File
	open *atomic.Int64
}

func (f *countedFile) Close() error {
	f.open.Add(-1)
	return f.File.Close()
}

// A process that may open fewer files than the table holds closes idle ones and goes on.
func TestFewDescriptors(t *testing.T) {
	var entries []entry
	for i := range 60 {
		entries = append(entries, entry{path: fmt.Sprintf("f%02d", i), size: 30_000})
	}
	tor := newTorrent(t, 32<<10, entries...)
	disk, err := vfs.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	few := &fewFiles{FS: disk, limit: 12}
	s := openStore(t, newCache(t, 16<<20), tor, Options{FS: few})
	tor.fetchAll(s)
	syncStore(t, s)
	for p := range tor.NumPieces() {
		tor.check(t, s, p)
	}
	closeStore(t, s)
	if got := few.open.Load(); got != 0 {
		t.Errorf("%d files are still open", got)
	}
}
