package cache

import (
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"torrentfs/cache/resume"
	"torrentfs/internal/crashfs"
	"torrentfs/internal/golden"
	"torrentfs/metainfo"
)

// formats are the golden files of package resume.
const formats = "resume/testdata/formats/"

// filesOfState are the files in the state directory of a disk, by their ends.
func filesOfState(t *testing.T, disk *crashfs.FS, tor *torrent) map[string][]byte {
	t.Helper()
	out := make(map[string][]byte)
	for _, end := range []string{".resume", ".journal", ".names", ".files"} {
		f, err := disk.OpenFile(resume.StateDir+"/"+tor.Hash.String()+end, os.O_RDONLY, 0)
		if err != nil {
			continue
		}
		st, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, st.Size)
		if _, err := f.ReadAt(b, 0); err != nil && err != io.EOF {
			t.Fatal(err)
		}
		out[end] = b
	}
	return out
}

// goldenFiles compares the files in the state directory; none is missing, and none is more.
func goldenFiles(t *testing.T, name string, files map[string][]byte) {
	t.Helper()
	for end, b := range files {
		golden.Hex(t, formats+name+end+".hex", b)
	}
	if all, _ := filepath.Glob(formats + name + ".*.hex"); len(all) != len(files) {
		t.Errorf("%s: %d files in the state directory, want %q", name, len(files), all)
	}
}

// goldenRun has a store do something on a disk, and compares what it left in the state directory.
func goldenRun(t *testing.T, name string, tor *torrent, disk *crashfs.FS, run func(s *Store)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c, err := New(Config{})
		if err != nil {
			t.Fatal(err)
		}
		s, err := c.Open(tor.Info, Options{FS: disk})
		if err != nil {
			t.Fatal(err)
		}
		run(s)
		goldenFiles(t, name+"-running", filesOfState(t, disk, tor))
		closeStore(t, s)
		goldenFiles(t, name+"-closed", filesOfState(t, disk, tor))
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// What whole runs leave on disk: a new torrent, the same again with a file that was changed and
// with pieces that are lost, one with blocks that are verified by themselves and a file that is complete.
func TestGoldenRuns(t *testing.T) {
	tor, disk := mixed(t), crashfs.New()
	goldenRun(t, "run-new", tor, disk, func(s *Store) {
		for _, p := range []int{3, 0, 5} {
			tor.fetch(s, p)
			syncStore(t, s)
		}
		tor.put(s, 1) // not verified
		tor.fetch(s, 2)
		syncStore(t, s)
	})
	goldenRun(t, "run-again", tor, disk, func(s *Store) {
		tor.fetch(s, 4)
		syncStore(t, s)
		change(t, disk, s.Path(0), "x")
		if n := len(invalidate(s, 0, ErrChanged)); n == 0 {
			t.Error("nothing is in doubt")
		}
		syncStore(t, s)
		s.Discard(0)
	})
	two, disk := newTorrentV2(t, 64<<10, 50_000, 200_000), crashfs.New()
	goldenRun(t, "run-v2", two, disk, func(s *Store) {
		two.fetch(s, 0)
		for b := range 3 {
			s.Put(metainfo.Block{Piece: 2, Index: b}, two.block(2, b))
			s.CommitBlock(metainfo.Block{Piece: 2, Index: b})
		}
		syncStore(t, s)
	})
}

// change is another program that writes to a file.
func change(t *testing.T, disk *crashfs.FS, name, text string) {
	t.Helper()
	disk.Others(func() {
		f, err := disk.OpenFile(name, os.O_RDWR, 0)
		if err == nil {
			_, err = f.WriteAt([]byte(text), 0)
		}
		if err != nil {
			t.Fatal(err)
		}
	})
}
