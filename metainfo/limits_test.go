package metainfo

import (
	"errors"
	"fmt"
	"math"
	"testing"
)

// hugeV2 is an info dictionary of one v2 file: 150 bytes that may claim anything.
func hugeV2(length, pieceLength int64) []byte {
	const root = "0123456789abcdef0123456789abcdef"
	return fmt.Appendf(nil, "d9:file treed1:fd0:d6:lengthi%de11:pieces root32:%seee12:meta versioni2e4:name1:f12:piece lengthi%dee",
		length, root, pieceLength)
}

// What is just within the limits is taken, what is beyond them by one piece or
// one byte is refused with ErrLimit.
func TestLimitsOfSize(t *testing.T) {
	const huge = math.MaxInt32
	tests := map[string]struct {
		length, pieceLength int64
		lim                 Limits
		ok                  bool
	}{
		"most pieces":              {DefaultPieces * BlockSize, BlockSize, Limits{}, true},
		"a piece more":             {DefaultPieces*BlockSize + 1, BlockSize, Limits{}, false},
		"most blocks":              {(MaxBlocks + 1) * BlockSize / 2, 512 << 20, Limits{}, true},
		"a piece of blocks more":   {(MaxBlocks+1)*BlockSize/2 + 1<<44, 512 << 20, Limits{}, false},
		"2^32 blocks":              {1 << 46, 512 << 20, Limits{}, false},
		"all of 63 bits":           {math.MaxInt64, 512 << 20, Limits{}, false},
		"whatever the limits: no":  {1 << 46, 512 << 20, Limits{Pieces: math.MaxInt, PieceLength: math.MaxInt64}, false},
		"whatever the limits: yes": {MaxBlocks * BlockSize, BlockSize, Limits{Pieces: huge, PieceLength: math.MaxInt64}, false},
		"long pieces":              {1, MaxPieceLength, Limits{PieceLength: math.MaxInt64}, true},
		"longer pieces":            {1, MaxPieceLength * 2, Limits{PieceLength: math.MaxInt64}, false},
	}
	for name, tt := range tests {
		info, err := ParseInfo(hugeV2(tt.length, tt.pieceLength), tt.lim)
		if tt.ok && err != nil || !tt.ok && !errors.Is(err, ErrLimit) {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && info.Size() != tt.length {
			t.Errorf("%s: %d bytes", name, info.Size())
		}
	}
}

// FuzzGeometry holds of every length that the limits let pass that its numbers
// fit where the packages above keep them, and that no method fails for a piece
// or a block that exists.
func FuzzGeometry(f *testing.F) {
	f.Add(int64(1), int64(0), int64(5), int64(BlockSize), true)
	f.Add(int64(1<<46), int64(1), int64(0), int64(512<<20), true)
	f.Add(int64(131_080*512<<20), int64(0), int64(0), int64(512<<20), false)
	f.Add(int64(math.MaxInt64), int64(math.MaxInt64), int64(1), int64(1), false)
	f.Add(int64(3*BlockSize+7), int64(20*BlockSize), int64(1), int64(50_000), false)
	hashes := make([]byte, DefaultPieces*len(SHA1{}))
	f.Fuzz(func(t *testing.T, a, pad, b, pieceLength int64, v1 bool) {
		if min(a, pad, b) < 0 { // refused where they are read
			return
		}
		lim := Limits{}.withDefaults()
		if lim.checkPieceLength(pieceLength, !v1) != nil {
			return
		}
		p := infoParser{lim: lim, info: &Info{Hash: InfoHash{HasV1: v1, HasV2: !v1}}}
		p.info.pieceLength = pieceLength
		p.info.Files = []File{{Length: a}, {Length: b}}
		if v1 {
			p.info.Files = []File{{Length: a}, {Length: pad, Pad: true}, {Length: b}}
			if size := a + pad + b; min(a, pad, b, size, a+pad) >= 0 {
				p.info.pieces = hashes[:min(ceilDiv(size, pieceLength), DefaultPieces)*int64(len(SHA1{}))]
			}
		}
		if err := p.layout(); err != nil {
			if size := a + b + pad; size >= 0 && a+b >= 0 && size < 1<<34 && ceilDiv(size, pieceLength) < DefaultPieces-2 {
				t.Fatalf("%d, %d, %d bytes in pieces of %d are refused: %v", a, pad, b, pieceLength, err)
			}
			return
		}
		checkWithinLimits(t, p.info)
	})
}

func checkWithinLimits(t *testing.T, i *Info) {
	t.Helper()
	pieces, per := int64(i.NumPieces()), int64(i.BlocksPerPiece())
	switch {
	case i.Size() == 0:
		return // refused with ErrEmpty
	case pieces < 1 || pieces > MaxPieces || pieces*per > MaxBlocks || i.PieceLength()+BlockSize > math.MaxInt32:
		t.Fatalf("%d pieces of %d blocks", pieces, per)
	case i.PieceOf(i.Size()-1) != i.NumPieces()-1:
		t.Fatalf("the last byte is in piece %d of %d", i.PieceOf(i.Size()-1), pieces)
	}
	for _, p := range []int{0, i.NumPieces() / 2, i.NumPieces() - 1} {
		last := i.NumBlocks(p) - 1
		if end := int64(last)*BlockSize + int64(i.BlockLen(p, last)); end != i.PieceSize(p) || end > i.PieceLength() {
			t.Fatalf("piece %d has %d bytes, its blocks end at %d", p, i.PieceSize(p), end)
		}
	}
	for _, f := range i.Files {
		if f.Offset < 0 || f.Offset+f.Length > i.Size() || f.Length < 0 {
			t.Fatalf("file at %d with %d bytes of %d", f.Offset, f.Length, i.Size())
		}
	}
	for _, r := range i.VirtualBlocks() {
		if r.Piece >= i.NumPieces() || r.First < 0 || r.Count < 1 || r.First+r.Count > i.NumBlocks(r.Piece) {
			t.Fatalf("virtual blocks %+v", r)
		}
	}
}
