package cache

import (
	"fmt"
	"io/fs"
	"os"
	"testing"

	"torrentfs/cache/vfs"
)

// patientFS makes no file beyond so many until it is let.
type patientFS struct {
	vfs.FS
	left int
	let  chan struct{}
}

func (p *patientFS) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	if flag&os.O_EXCL != 0 {
		if p.left--; p.left < 0 {
			<-p.let
		}
	}
	return p.FS.OpenFile(name, flag, perm)
}

// A torrent of very many empty files is open before they are all made; a sync
// has them all.
func TestManyEmptyFiles(t *testing.T) {
	files := []entry{{path: "content", size: 1}}
	for i := range emptiesAtOpen + 500 {
		files = append(files, entry{path: fmt.Sprintf("d%04d/empty", i)})
	}
	tor := newTorrent(t, 64<<10, files...)
	disk, err := vfs.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	slow := &patientFS{FS: disk, left: emptiesAtOpen, let: make(chan struct{})}
	s := openStore(t, newCache(t, 1<<20), tor, Options{FS: slow})
	close(slow.let)
	syncStore(t, s)
	for _, f := range tor.Files[1:] {
		if _, err := disk.Lstat(f.Path); err != nil {
			t.Fatal(err)
		}
	}
}
