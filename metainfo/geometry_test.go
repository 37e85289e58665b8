package metainfo

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// Geometry against the definition, byte range by byte range.
func TestStreamGeometryProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pieceLength := rapid.OneOf(
			rapid.Int64Range(1, 100),
			rapid.SampledFrom([]int64{BlockSize, 4 * BlockSize, 3*BlockSize + 100, BlockSize - 1, 50_000}),
		).Draw(t, "piece length")
		var pads []byteRange
		var off int64
		for range rapid.IntRange(1, 6).Draw(t, "files") {
			n := rapid.Int64Range(0, 4*pieceLength).Draw(t, "length")
			if n > 0 && rapid.Bool().Draw(t, "pad") {
				pads = append(pads, byteRange{off, off + n})
			}
			off += n
		}
		if off == 0 {
			return
		}
		g := streamGeometry(pieceLength, off, pads)
		inPad := func(from, to int64) bool { // [from, to) lies in pads, that may touch
			for _, p := range pads {
				if p.from <= from && from < p.to {
					from = min(p.to, to)
				}
			}
			return from >= to
		}
		virtual := map[[2]int]bool{}
		for _, r := range g.VirtualBlocks() {
			for b := r.First; b < r.First+r.Count; b++ {
				if virtual[[2]int{r.Piece, b}] {
					t.Fatalf("block %d of piece %d is listed twice", b, r.Piece)
				}
				virtual[[2]int{r.Piece, b}] = true
			}
		}
		var pos int64
		for p := range g.NumPieces() {
			if g.PieceOf(pos) != p {
				t.Fatalf("PieceOf(%d) = %d, want %d", pos, g.PieceOf(pos), p)
			}
			for b := range g.NumBlocks(p) {
				n := int64(g.BlockLen(p, b))
				if want := inPad(pos, pos+n); virtual[[2]int{p, b}] != want {
					t.Fatalf("block %d of piece %d [%d, %d): virtual is %v, want %v", b, p, pos, pos+n, !want, want)
				}
				pos += n
			}
		}
		if pos != off || g.Size() != off {
			t.Fatalf("blocks end at %d, stream at %d, size %d", pos, off, g.Size())
		}
	})
}

func TestAlignedGeometry(t *testing.T) {
	const length = 4 * BlockSize
	info := &Info{Files: []File{
		{Offset: 0, Length: 5},
		{Offset: 5, Length: 0},
		{Offset: length, Length: 2 * length},
		{Offset: 3 * length, Length: length + BlockSize + 1},
		{Offset: 4*length + BlockSize + 1, Length: 0},
	}}
	info.Geometry = alignedGeometry(length, info.Files)
	g := &info.Geometry
	if g.NumPieces() != 5 || g.Size() != 4*length+BlockSize+1 || g.BlocksPerPiece() != 4 {
		t.Errorf("%d pieces, size %d", g.NumPieces(), g.Size())
	}
	for p, want := range []int64{5, length, length, length, BlockSize + 1} {
		if got := g.PieceSize(p); got != want {
			t.Errorf("piece %d has %d bytes, want %d", p, got, want)
		}
	}
	if g.NumBlocks(4) != 2 || g.BlockLen(4, 1) != 1 || g.BlockLen(0, 0) != 5 {
		t.Error("blocks of short pieces")
	}
	var got []FileSpan
	for s := range info.Spans(2, 2*length) {
		got = append(got, s)
	}
	if d := cmp.Diff([]FileSpan{{0, 2, 2, 3}, {2, 0, length, length + 2}}, got); d != "" {
		t.Error(d)
	}
	for off, want := range map[int64]int{0: 0, 4: 0, 5: 2, length - 1: 2, length: 2, 3*length - 1: 2, 3 * length: 3, 5 * length: 5} {
		if got := info.FileAt(off); got != want {
			t.Errorf("FileAt(%d) = %d, want %d", off, got, want)
		}
	}
}

func TestGeometryPanics(t *testing.T) {
	g := streamGeometry(BlockSize, BlockSize+1, nil)
	for name, f := range map[string]func(){
		"piece -1": func() { g.PieceSize(-1) },
		"piece 2":  func() { g.PieceSize(2) },
		"block 1":  func() { g.BlockLen(1, 1) },
		"block -1": func() { g.BlockLen(0, -1) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s did not panic", name)
				}
			}()
			f()
		}()
	}
}

// A message names a block by its offset and length: BlockAt is the inverse of Begin and BlockLen,
// and takes any numbers.
func TestBlockAt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pieceLength := rapid.SampledFrom([]int64{1, 100, BlockSize, 4 * BlockSize, 3*BlockSize + 100}).Draw(t, "piece length")
		g := NewGeometry(pieceLength, rapid.Int64Range(1, 10*pieceLength).Draw(t, "size"))
		want := Block{Piece: Piece(rapid.IntRange(0, int(g.NumPieces())-1).Draw(t, "piece"))}
		want.Index = rapid.IntRange(0, g.NumBlocks(want.Piece)-1).Draw(t, "block")
		n := g.BlockLen(want.Piece, want.Index)
		if b, ok := g.BlockAt(want.Piece, want.Begin(), n); !ok || b != want {
			t.Fatalf("%v of %d bytes: got %v, %v", want, n, b, ok)
		}
		any := rapid.OneOf(rapid.Int(), rapid.IntRange(-2, 5*BlockSize), rapid.SampledFrom([]int{0, BlockSize, n}))
		piece, begin, length := Piece(any.Draw(t, "any piece")), any.Draw(t, "begin"), any.Draw(t, "length")
		if b, ok := g.BlockAt(piece, begin, length); ok && (b.Piece != piece || b.Begin() != begin || g.BlockLen(piece, b.Index) != length) {
			t.Fatalf("%d bytes at %d of piece %d: got %v", length, begin, piece, b)
		}
	})
}
