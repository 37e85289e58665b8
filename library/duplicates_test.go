package library

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"torrentfs/metainfo"
)

// A file that another torrent has, of this library or below a data root, is taken
// from there without a peer, whatever its name and piece length there. A file
// that was spoiled since is noticed, and only its right pieces are taken.
func TestDuplicates(t *testing.T) {
	_, files := testTorrent(t, "")
	for _, c := range []struct {
		first, second metainfo.Version
		same          bool // data folder
		live          bool // in one library
		spoil         bool
	}{
		{metainfo.V2, metainfo.V2, false, false, false},
		{metainfo.V2, metainfo.V2, false, true, false},
		{metainfo.Hybrid, metainfo.V2, false, false, true},
		{metainfo.V2, metainfo.Hybrid, true, false, false},
		{metainfo.Hybrid, metainfo.Hybrid, true, true, false},
	} {
		t.Run(fmt.Sprintf("%v to %v, same %v, live %v, spoilt %v", c.first, c.second, c.same, c.live, c.spoil), func(t *testing.T) {
			root := t.TempDir()
			dir := filepath.Join(root, "first")
			writeFiles(t, dir, files)
			l := openLibrary(t, dir)
			awaitComplete(t, addTorrent(t, l, createTorrent(t, "set", c.first, 64<<10, files), AddOptions{NoTrackers: true}))
			if !c.live {
				if err := l.Close(context.Background()); err != nil {
					t.Fatal(err)
				}
			}
			big := files[3]
			if c.spoil {
				f, err := os.OpenFile(filepath.Join(dir, "set", "dir", "b.bin"), os.O_WRONLY, 0)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := f.WriteAt([]byte("spoilt"), 500_000); err != nil {
					t.Fatal(err)
				}
				f.Close()
			}
			second := filepath.Join(root, "second")
			if c.same {
				second = dir
			}
			if !c.live {
				l = openLibrary(t, second)
				l.cfg.DataRoots = []string{root}
			}
			other := []testFile{{[]string{"renamed"}, big.data}, {[]string{"z", "new"}, bytes.Repeat([]byte("new"), 50_000)}}
			tor := addTorrent(t, l, createTorrent(t, "other", c.second, 32<<10, other), AddOptions{NoTrackers: true, DataDir: second})
			f, err := tor.Source().Open(0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			got := make([]byte, 400_000)
			if n, err := f.ReadAt(deadline(t), got, 1000); err != nil || !bytes.Equal(got, big.data[1000:401_000]) {
				t.Errorf("read %d bytes: wrong, or %v", n, err)
			}
			want := int64(len(big.data))
			if c.spoil {
				want -= 32 << 10
			}
			for ctx := deadline(t); tor.Stats().Taken < want || tor.Stats().Checking > 0; runtime.Gosched() {
				if ctx.Err() != nil {
					t.Fatalf("not taken: %+v", tor.Stats())
				}
			}
			if s := tor.Stats(); s.Downloaded != 0 || s.Taken != want {
				t.Errorf("downloaded %d, taken %d, want %d", s.Downloaded, s.Taken, want)
			}
		})
	}
}
