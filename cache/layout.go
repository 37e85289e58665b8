package cache

import (
	"fmt"
	"iter"
	"slices"
	"sort"

	"torrentfs/cache/resume"
	"torrentfs/metainfo"
)

// span is the place of one file's content in the piece space.
type span struct {
	off, end int64
	file     int
}

// part is a stretch of the piece space that lies in one file, or in none
// (file < 0: padding, which reads as zeros and is not stored).
type part struct {
	file int
	at   int64 // offset within the file
	off  int64 // offset within the piece space
	n    int64
}

// layout maps the piece space to files. It is immutable.
type layout struct {
	geo   *metainfo.Geometry
	files []metainfo.File
	spans []span // files with content, by offset

	pieceLen int64
	size     int64 // of the piece space
	pieces   int
	perPiece int // blocks of a full piece
}

func newLayout(info *metainfo.Info) (*layout, error) {
	l := &layout{
		geo: &info.Geometry, files: info.Files,
		pieceLen: info.PieceLength(), size: info.Size(),
		pieces: info.NumPieces(), perPiece: info.BlocksPerPiece(),
	}
	for i := range info.Files {
		f := &info.Files[i]
		if !stored(f) {
			continue
		}
		if err := resume.CheckPath(f.Path); err != nil {
			return nil, err
		}
		if f.Length > 0 {
			l.spans = append(l.spans, span{off: f.Offset, end: f.Offset + f.Length, file: i})
		}
	}
	sort.Slice(l.spans, func(i, j int) bool { return l.spans[i].off < l.spans[j].off })
	for i := 1; i < len(l.spans); i++ {
		if l.spans[i].off < l.spans[i-1].end {
			return nil, fmt.Errorf("lay out %q: files overlap", info.Name)
		}
	}
	return l, nil
}

// renamed is the layout with files under other names on disk.
func (l *layout) renamed(names []string) *layout {
	same := true
	for i, name := range names {
		same = same && name == l.files[i].Path
	}
	if same {
		return l
	}
	m := *l
	m.files = slices.Clone(l.files)
	for i, name := range names {
		m.files[i].Path = name
	}
	return &m
}

// stored tells whether a file has a content of its own on disk.
func stored(f *metainfo.File) bool { return !f.Pad && !f.Link() }

// first returns the index of the first span that ends after off.
func (l *layout) first(off int64) int {
	return sort.Search(len(l.spans), func(i int) bool { return l.spans[i].end > off })
}

// parts yields the range of the piece space cut at the ends of files.
func (l *layout) parts(off, n int64) iter.Seq[part] {
	return func(yield func(part) bool) {
		end := off + n
		for i := l.first(off); off < end; i++ {
			if i == len(l.spans) || l.spans[i].off >= end {
				yield(part{file: -1, off: off, n: end - off})
				return
			}
			s := l.spans[i]
			if s.off > off {
				if !yield(part{file: -1, off: off, n: s.off - off}) {
					return
				}
				off = s.off
			}
			m := min(end, s.end) - off
			if !yield(part{file: s.file, at: off - s.off, off: off, n: m}) {
				return
			}
			off += m
		}
	}
}

// pieceRange is the piece's place in the piece space.
func (l *layout) pieceRange(piece int) (off, n int64) {
	return int64(piece) * l.pieceLen, l.geo.PieceSize(piece)
}

// piecesOf is the first and the last piece with a part of a file that is not empty.
func (l *layout) piecesOf(file int) (first, last int) {
	f := &l.files[file]
	return int(f.Offset / l.pieceLen), int((f.Offset + f.Length - 1) / l.pieceLen)
}

// filesOf yields the files with content in the piece.
func (l *layout) filesOf(piece int) iter.Seq[int] {
	off, n := l.pieceRange(piece)
	return func(yield func(int) bool) {
		for i := l.first(off); i < len(l.spans) && l.spans[i].off < off+n; i++ {
			if !yield(l.spans[i].file) {
				return
			}
		}
	}
}

func (l *layout) block(piece, block int) (off int64, n int) {
	return int64(piece)*l.pieceLen + int64(block)*metainfo.BlockSize, l.geo.BlockLen(piece, block)
}

// key names a block within its torrent for the memory tier.
func (l *layout) key(piece, block int) uint64 {
	return uint64(piece)*uint64(l.perPiece) + uint64(block)
}

// hasContent reports whether any of a block lies in a file.
func (l *layout) hasContent(piece, block int) bool {
	off, n := l.block(piece, block)
	i := l.first(off)
	return i < len(l.spans) && l.spans[i].off < off+int64(n)
}

// at is the block that holds off, and where it lies. Between a short piece
// and the next one (v2) there is none: n is 0 and next the end of the gap.
func (l *layout) at(off int64) (piece, block int, start int64, n int, next int64) {
	piece = int(off / l.pieceLen)
	base := int64(piece) * l.pieceLen
	block = int((off - base) / metainfo.BlockSize)
	if off-base >= l.geo.PieceSize(piece) {
		return piece, block, off, 0, base + l.pieceLen
	}
	start, n = l.block(piece, block)
	return piece, block, start, n, start + int64(n)
}
