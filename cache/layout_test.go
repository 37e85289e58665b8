package cache

import (
	"testing"

	"pgregory.net/rapid"
)

// The parts of any range follow each other, cover it, and say of each byte
// what a walk over all files says.
func TestParts(t *testing.T) {
	for _, tor := range []*torrent{mixed(t), newTorrentV2(t, 16<<10, 5, 20_000, 0, 70_000, 1)} {
		l, err := newLayout(tor.Info)
		if err != nil {
			t.Fatal(err)
		}
		where := func(off int64) (file int, at int64) {
			for i := range tor.Files {
				f := &tor.Files[i]
				if stored(f) && off >= f.Offset && off < f.Offset+f.Length {
					return i, off - f.Offset
				}
			}
			return -1, 0
		}
		rapid.Check(t, func(t *rapid.T) {
			off := rapid.Int64Range(0, l.size-1).Draw(t, "off")
			n := rapid.Int64Range(0, l.size-off).Draw(t, "n")
			next := off
			for p := range l.parts(off, n) {
				if p.off != next || p.n <= 0 {
					t.Fatalf("part %+v, want one from %d", p, next)
				}
				for _, o := range []int64{0, p.n - 1} {
					if file, at := where(p.off + o); file != p.file || file >= 0 && at != p.at+o {
						t.Fatalf("byte %d is in file %d at %d, part %+v", p.off+o, file, at, p)
					}
				}
				next += p.n
			}
			if next != off+n {
				t.Fatalf("parts end at %d, want %d", next, off+n)
			}
		})
		for p := range l.pieces {
			off, n := l.pieceRange(p)
			files := map[int]bool{}
			for f := range l.filesOf(p) {
				files[f] = true
			}
			for part := range l.parts(off, n) {
				if part.file >= 0 && !files[part.file] {
					t.Errorf("piece %d: file %d is missing", p, part.file)
				}
				delete(files, part.file)
			}
			if len(files) > 0 {
				t.Errorf("piece %d: files %v are too many", p, files)
			}
		}
	}
}
