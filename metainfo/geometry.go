package metainfo

import (
	"iter"
	"sort"
)

// Geometry maps bytes to pieces to blocks. Its address space, the piece space,
// is the stream of all files of a v1 or hybrid torrent, pads included. For a
// torrent of v2 alone each file that is not empty begins at the next multiple
// of the piece length, so a piece may be short in the middle and gaps belong
// to no piece. Methods panic on pieces and blocks that do not exist.
type Geometry struct {
	pieceLength int64
	size        int64
	numPieces   int
	perPiece    int          // blocks of a full piece
	short       []shortPiece // pieces shorter than pieceLength, ascending
	firstShort  int          // the first of them; numPieces if all are full
	virtual     []BlockRange
}

// shortPiece is a piece that ends before the next one begins.
type shortPiece struct {
	piece int32
	size  int32
}

// Piece is the index of a piece, from 0.
type Piece = int

// Block names a block: up to BlockSize bytes of a piece, Index*BlockSize bytes
// behind the piece's beginning. It is the unit of a request (BEP 3).
type Block struct {
	Piece Piece
	Index int
}

// Begin is the block's offset in its piece, in bytes, as messages name it.
func (b Block) Begin() int { return b.Index * BlockSize }

// ByteRange is the bytes [Off, Off+Len) of the piece space.
type ByteRange struct{ Off, Len int64 }

// BlockRange is a run of blocks of one piece.
type BlockRange struct {
	Piece        Piece
	First, Count int
}

// byteRange is [from, to) in the piece space.
type byteRange struct{ from, to int64 }

// streamGeometry lays out a v1 or hybrid torrent: one stream of size bytes, in
// which the ascending ranges of pads hold zeros.
func streamGeometry(pieceLength, size int64, pads []byteRange) Geometry {
	g := Geometry{
		pieceLength: pieceLength,
		size:        size,
		numPieces:   int(ceilDiv(size, pieceLength)),
		perPiece:    int(ceilDiv(pieceLength, BlockSize)),
	}
	if rest := size % pieceLength; rest != 0 {
		g.short = []shortPiece{{int32(g.numPieces - 1), int32(rest)}}
	}
	g.setFirstShort()
	g.virtual = g.wholeBlocks(pads)
	return g
}

// NewGeometry lays out one stream of size bytes without files, for simulations and tests: a v1
// torrent's pieces, in which the ascending ranges of pads hold zeros. It panics if there is nothing
// to lay out, or more than MaxPieces or MaxBlocks of it.
func NewGeometry(pieceLength, size int64, pads ...ByteRange) Geometry {
	if pieceLength < 1 || pieceLength > MaxPieceLength || size < 1 || size > MaxBlocks*BlockSize ||
		ceilDiv(size, pieceLength)*ceilDiv(pieceLength, BlockSize) > MaxBlocks || ceilDiv(size, pieceLength) > MaxPieces {
		panic("metainfo: geometry out of range")
	}
	var zeros []byteRange
	for _, r := range pads {
		zeros = append(zeros, byteRange{r.Off, r.Off + r.Len})
	}
	return streamGeometry(pieceLength, size, zeros)
}

// alignedGeometry lays out a v2 torrent: files (in order, empty ones and links
// included) each from a piece boundary. The offsets are in their Offset.
func alignedGeometry(pieceLength int64, files []File) Geometry {
	g := Geometry{pieceLength: pieceLength, perPiece: int(ceilDiv(pieceLength, BlockSize))}
	for i := range files {
		f := &files[i]
		if f.Length == 0 {
			continue
		}
		g.size = f.Offset + f.Length
		g.numPieces = int(ceilDiv(g.size, pieceLength))
		if rest := f.Length % pieceLength; rest != 0 {
			g.short = append(g.short, shortPiece{int32(g.numPieces - 1), int32(rest)})
		}
	}
	g.setFirstShort()
	return g
}

func (g *Geometry) setFirstShort() {
	g.firstShort = g.numPieces
	if len(g.short) > 0 {
		g.firstShort = int(g.short[0].piece)
	}
}

func ceilDiv(a, b int64) int64 {
	n := a / b
	if a%b != 0 {
		n++
	}
	return n
}

// PieceLength is the length of a full piece, in bytes.
func (g *Geometry) PieceLength() int64 { return g.pieceLength }

// NumPieces is the number of pieces; it is at least 1.
func (g *Geometry) NumPieces() int { return g.numPieces }

// Size is the end of the piece space, in bytes.
func (g *Geometry) Size() int64 { return g.size }

// PieceSize is the length of one piece, in bytes.
func (g *Geometry) PieceSize(piece Piece) int64 {
	if uint(piece) < uint(g.firstShort) {
		return g.pieceLength
	}
	return g.shortPieceSize(piece)
}

// shortPieceSize is PieceSize of a piece that may be short, or not exist.
func (g *Geometry) shortPieceSize(piece Piece) int64 {
	if uint(piece) >= uint(g.numPieces) {
		panic("metainfo: piece out of range")
	}
	i := sort.Search(len(g.short), func(i int) bool { return Piece(g.short[i].piece) >= piece })
	if i < len(g.short) && Piece(g.short[i].piece) == piece {
		return int64(g.short[i].size)
	}
	return g.pieceLength
}

// NumBlocks is the number of blocks of one piece.
func (g *Geometry) NumBlocks(piece Piece) int {
	if uint(piece) < uint(g.firstShort) {
		return g.perPiece
	}
	return int(ceilDiv(g.shortPieceSize(piece), BlockSize))
}

// BlockLen is the length of one block, in bytes: BlockSize but for the last of
// a piece.
func (g *Geometry) BlockLen(piece Piece, block int) int {
	rest := g.PieceSize(piece) - int64(block)*BlockSize
	if block < 0 || rest <= 0 {
		panic("metainfo: block out of range")
	}
	return int(min(rest, BlockSize))
}

// BlockAt returns the block that a message names by its offset in the piece and its length (BEP 3),
// if there is such a block as a whole. It takes any numbers.
func (g *Geometry) BlockAt(piece Piece, begin, length int) (b Block, ok bool) {
	if uint(piece) >= uint(g.numPieces) || begin < 0 || begin%BlockSize != 0 {
		return Block{}, false
	}
	b = Block{Piece: piece, Index: begin / BlockSize}
	return b, b.Index < g.NumBlocks(piece) && length == g.BlockLen(piece, b.Index)
}

// BlocksPerPiece is the number of blocks of a full piece.
func (g *Geometry) BlocksPerPiece() int { return g.perPiece }

// PieceOf is the piece in which the byte at off lies, for 0 ≤ off < Size.
func (g *Geometry) PieceOf(off int64) Piece { return Piece(off / g.pieceLength) }

// VirtualBlocks lists the blocks that lie within pads as a whole, ascending.
// They are zeros: never requested, and served as such. The slice belongs to
// the Geometry.
func (g *Geometry) VirtualBlocks() []BlockRange { return g.virtual }

// wholeBlocks finds the blocks that ascending ranges cover entirely.
func (g *Geometry) wholeBlocks(ranges []byteRange) (out []BlockRange) {
	for i := 0; i < len(ranges); {
		r := ranges[i] // with those that follow without a gap
		for i++; i < len(ranges) && ranges[i].from == r.to; i++ {
			r.to = ranges[i].to
		}
		for p := r.from / g.pieceLength; p*g.pieceLength < r.to; p++ {
			start := p * g.pieceLength
			end := start + g.PieceSize(Piece(p))
			first := ceilDiv(max(r.from-start, 0), BlockSize)
			last := (min(r.to, end) - start) / BlockSize // exclusive
			if r.to >= end {
				last = ceilDiv(end-start, BlockSize) // the short last block too
			}
			if first < last {
				out = append(out, BlockRange{Piece(p), int(first), int(last - first)})
			}
		}
	}
	return out
}

// FileSpan is a part of the piece space that one file covers.
type FileSpan struct {
	File   int   // index in Info.Files
	Offset int64 // in the file
	Pos    int64 // in the piece space
	Length int64 // at least 1
}

// FileAt returns the index of the file that holds the byte at off of the piece space (a pad,
// perhaps), or the next file that is not empty if off lies in a gap; len(i.Files) behind the last.
func (i *Info) FileAt(off int64) int {
	return sort.Search(len(i.Files), func(k int) bool {
		return i.Files[k].Offset+i.Files[k].Length > off
	})
}

// Spans yields the parts of files that make up n bytes of the piece space from
// off, in order. Gaps of a v2 torrent belong to no file and are left out.
func (i *Info) Spans(off, n int64) iter.Seq[FileSpan] {
	return func(yield func(FileSpan) bool) {
		for k, end := i.FileAt(off), off+n; k < len(i.Files); k++ {
			f := &i.Files[k]
			if f.Offset >= end {
				return
			}
			from, to := max(off, f.Offset), min(end, f.Offset+f.Length)
			if from < to && !yield(FileSpan{k, from - f.Offset, from, to - from}) {
				return
			}
		}
	}
}
