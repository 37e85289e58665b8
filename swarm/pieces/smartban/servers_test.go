package smartban

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"torrentfs/metainfo"
	"torrentfs/metainfo/bencode"
)

// testInfo is the metadata of a v1 torrent of files of these sizes.
func testInfo(t *testing.T, pieceLength int64, sizes ...int64) *metainfo.Info {
	t.Helper()
	var files []any
	total := int64(0)
	for i, n := range sizes {
		files = append(files, map[string]any{"length": n, "path": []any{fmt.Sprintf("f%03d", i)}})
		total += n
	}
	b, err := bencode.Encode(map[string]any{
		"name": "content", "piece length": pieceLength, "files": files,
		"pieces": string(make([]byte, 20*((total+pieceLength-1)/pieceLength))),
	})
	if err != nil {
		t.Fatal(err)
	}
	info, err := metainfo.ParseInfo(b, metainfo.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// Wrong data costs the pieces of one file as long as that explains it.
func TestWrongDataOfAServer(t *testing.T) {
	info := testInfo(t, 64<<10, 1<<20, 1<<20, 3000, 1<<20) // pieces 0 to 15, 16 to 31, 32 (with the small file), 33 to 47, 48
	var f Server
	if pieces, files, ban := f.Failed(info, 32); !slices.Equal(pieces, []int{32}) || files != nil || ban {
		t.Errorf("a piece of two files: %v, %v, %v", pieces, files, ban)
	}
	if pieces, files, ban := f.Failed(info, 3); !slices.Equal(pieces, []int{3}) || files != nil || ban {
		t.Errorf("one wrong piece: %v, %v, %v", pieces, files, ban)
	}
	pieces, files, ban := f.Failed(info, 5)
	if len(pieces) != 15 || !slices.Equal(files, []int{0}) || ban || f.lost.Count() != 17 {
		t.Errorf("two wrong pieces of a file: %v, %v, %v", pieces, files, ban)
	}
	for p := range 16 { // were asked for before that was known
		if _, _, ban := f.Failed(info, p); ban {
			t.Fatal("banned for one file")
		}
	}
	for p := 17; p < 30; p++ {
		f.Passed(info, p)
	}
	if _, files, ban := f.Failed(info, 30); files != nil || ban {
		t.Errorf("one wrong piece beside 13 right ones: %v, %v", files, ban)
	}
	var liar Server
	n := 0
	for _, p := range []int{1, 2, 20, 21, 40} {
		n++
		if _, _, ban := liar.Failed(info, p); ban {
			break
		}
	}
	if n != maxStrikes {
		t.Errorf("a server that sends nothing right is banned after %d pieces", n)
	}
}

// Whatever a server sends: each piece is given up once, with the whole of its file if that is given up, and a server is
// banned only if more than half of what is known of it speaks against it, or nothing is left to ask it for.
func TestAnyServer(t *testing.T) {
	info := testInfo(t, 64<<10, 1<<20, 3000, 1<<20)
	rapid.Check(t, func(t *rapid.T) {
		var s Server
		lost := map[metainfo.Piece]bool{}
		right, wrong := 0, 0
		for range rapid.IntRange(1, 100).Draw(t, "steps") {
			p := metainfo.Piece(rapid.IntRange(0, info.NumPieces()-1).Draw(t, "piece"))
			if rapid.Bool().Draw(t, "right") {
				right++
				s.Passed(info, p)
				continue
			}
			wrong++
			pieces, files, ban := s.Failed(info, p)
			for _, q := range pieces {
				if lost[q] {
					t.Fatalf("piece %d is given up again", q)
				}
				lost[q] = true
			}
			for _, f := range files {
				for q := info.PieceOf(info.Files[f].Offset); q <= info.PieceOf(info.Files[f].Offset+info.Files[f].Length-1); q++ {
					if !lost[q] {
						t.Fatalf("file %d is given up, and its piece %d is not", f, q)
					}
				}
			}
			if ban && wrong <= right && len(lost) < info.NumPieces() {
				t.Fatalf("banned after %d right and %d wrong pieces", right, wrong)
			}
			for q := range info.NumPieces() {
				if s.Lacks(q) != lost[q] {
					t.Fatalf("piece %d: lacks %v, was given up %v", q, s.Lacks(q), lost[q])
				}
			}
		}
	})
}
