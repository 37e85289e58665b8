package cache

import (
	"crypto/sha1"
	"os"
	"path/filepath"
	"testing"

	"torrentfs/metainfo"
	"torrentfs/metainfo/bencode"
)

// A sparse copy of a file that is mostly zeros is found as a whole; the holes of an incomplete file are not taken for its
// zeros.
func TestHolesMayBeZeros(t *testing.T) {
	const pieceLength, pieces = 32 << 10, 9
	data := make([]byte, pieces*pieceLength-5000)
	copy(data[3*pieceLength+77:], "an island")
	var sums []byte
	for p := range pieces {
		sum := sha1.Sum(data[p*pieceLength : min((p+1)*pieceLength, len(data))])
		sums = append(sums, sum[:]...)
	}
	b, err := bencode.Encode(map[string]any{"info": map[string]any{
		"name": "image", "piece length": int64(pieceLength), "length": int64(len(data)), "pieces": string(sums),
	}})
	if err != nil {
		t.Fatal(err)
	}
	mi, err := metainfo.Parse(b, metainfo.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for name, write := range map[string]bool{"the whole": true, "a file of the right size": false} {
		dir := t.TempDir()
		f, err := os.Create(filepath.Join(dir, "image"))
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Truncate(int64(len(data))); err != nil {
			t.Fatal(err)
		}
		want := pieces - 1
		if write {
			want = pieces
			if _, err := f.WriteAt([]byte("an island"), 3*pieceLength+77); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		s, err := newCache(t, 1<<20).Open(mi.Info, Options{DataDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		if got := count(s.InDoubt()); got != want {
			t.Errorf("%s: %d pieces are to be hashed, want %d", name, got, want)
		}
		closeStore(t, s)
	}
}
