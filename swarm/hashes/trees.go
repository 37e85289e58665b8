package hashes

import (
	"sort"
	"sync"

	"torrentfs/internal/bitset"
	"torrentfs/metainfo"
)

const blockSize = metainfo.BlockSize

// Trees is what is known of the merkle trees of a torrent's files (BEP 52): of
// each file its root, and the hashes of its pieces, which the torrent has or
// peers prove. Any goroutine may use it.
type Trees struct {
	// Immutable.
	files       []File // those with content, by first piece
	byRoot      map[metainfo.SHA256]int
	pieceLength int64

	mu      sync.Mutex // guards what is marked in File, and missing; a leaf
	missing int        // files whose piece layer is not complete
}

// File is one file's tree.
type File struct {
	// Immutable.
	root        metainfo.SHA256
	first       metainfo.Piece
	pieces      int   // number of them
	length      int64 // bytes
	pieceLength int64
	height      int // level of the root
	level       int // of a piece's node; the root's for a file of one piece

	// Guarded by Trees.mu.
	layer []metainfo.SHA256 // nodes of the pieces; not changed once known is nil
	known bitset.Set        // of layer; nil: all of it
	gaps  int               // nodes that are not known
}

// NewTrees makes the trees of a torrent; layers are those of the torrent and
// already proven. It returns nil for a v1 torrent.
func NewTrees(info *metainfo.Info, layers map[metainfo.SHA256][]metainfo.SHA256) *Trees {
	if !info.Hash.HasV2 {
		return nil
	}
	t := &Trees{byRoot: map[metainfo.SHA256]int{}, pieceLength: info.PieceLength()}
	for i := range info.Files {
		f := &info.Files[i]
		if f.Length == 0 || f.Pad || f.Link() {
			continue
		}
		v := File{
			root: f.PiecesRoot, first: info.PieceOf(f.Offset), length: f.Length, pieceLength: t.pieceLength,
			height: metainfo.TreeHeight(f.Length), level: metainfo.LevelOf(t.pieceLength),
		}
		v.pieces = int(info.PieceOf(f.Offset+f.Length-1)-v.first) + 1
		switch layer := layers[f.PiecesRoot]; {
		case v.pieces == 1:
			v.level, v.layer = v.height, []metainfo.SHA256{v.root}
		case len(layer) == v.pieces:
			v.layer = layer
		default:
			v.layer, v.known, v.gaps = make([]metainfo.SHA256, v.pieces), bitset.New(v.pieces), v.pieces
			t.missing++
		}
		if _, same := t.byRoot[v.root]; !same {
			t.byRoot[v.root] = len(t.files)
		}
		t.files = append(t.files, v)
	}
	return t
}

// File returns the file of a piece, nil if the piece is padding throughout.
func (t *Trees) File(piece metainfo.Piece) *File {
	i := sort.Search(len(t.files), func(i int) bool { return t.files[i].end() > piece })
	if i == len(t.files) || t.files[i].first > piece {
		return nil
	}
	return &t.files[i]
}

// Node returns the hash that the tree of one of the file's pieces must come
// to, if it is known.
func (t *Trees) Node(f *File, piece metainfo.Piece) (metainfo.SHA256, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := int(piece - f.first)
	if f.known != nil && !f.known.Has(i) {
		return metainfo.SHA256{}, false
	}
	return f.layer[i], true
}

// learn takes proven nodes of a file's piece layer, from one on. Those behind
// the end of the file are passed over.
func (t *Trees) learn(f *File, from int, nodes []metainfo.SHA256) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if f.known == nil {
		return
	}
	for i, n := range nodes[:max(min(len(nodes), f.pieces-from), 0)] {
		if f.known.Set(from + i) {
			f.layer[from+i] = n
			f.gaps--
		}
	}
	if f.gaps == 0 {
		f.known = nil
		t.missing--
	}
}

// Layer returns a file's piece layer, nil while some of it is not known. The
// caller must not change it.
func (t *Trees) Layer(f *File) []metainfo.SHA256 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if f.known != nil {
		return nil
	}
	return f.layer
}

// lacks reports whether any node of a piece layer is still unknown.
func (t *Trees) lacks() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.missing > 0
}

// gap returns the first unknown node of a file's layer at or after one, or -1.
func (t *Trees) gap(f *File, from int) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if f.known == nil {
		return -1
	}
	for i := from; i < f.pieces; i++ {
		if !f.known.Has(i) {
			return i
		}
	}
	return -1
}

// pieceRange is where a piece lies; behind the end of a file it may hold nothing.
func (t *Trees) pieceRange(piece metainfo.Piece) metainfo.ByteRange {
	return metainfo.ByteRange{Off: int64(piece) * t.pieceLength, Len: t.pieceLength}
}

// blockRange is where a block lies.
func (t *Trees) blockRange(b metainfo.Block) metainfo.ByteRange {
	return metainfo.ByteRange{Off: int64(b.Piece)*t.pieceLength + int64(b.Index)*blockSize, Len: blockSize}
}

// end is the piece behind the file's last.
func (f *File) end() metainfo.Piece { return f.first + metainfo.Piece(f.pieces) }

// Level is the level of a piece's node above the leaves; 0 if a piece of the
// file is one block.
func (f *File) Level() int { return f.level }

// Bytes is how many bytes of the file lie in one of its pieces.
func (f *File) Bytes(piece metainfo.Piece) int64 {
	return min(f.length-int64(piece-f.first)*f.pieceLength, f.pieceLength)
}

// Leaves is how many leaves of the file lie in a piece: blocks of padding that
// follow in a hybrid have none.
func (f *File) Leaves(piece metainfo.Piece) int {
	return int((f.Bytes(piece) + blockSize - 1) / blockSize)
}

// LeafLen is how many bytes of a block its leaf covers: in a hybrid the rest of
// the file's last block is padding.
func (f *File) LeafLen(b metainfo.Block) int {
	return int(min(f.Bytes(b.Piece)-int64(b.Index)*blockSize, blockSize))
}

// leafIndex is the number of a piece's first leaf within the file.
func (f *File) leafIndex(piece metainfo.Piece) int {
	return int(int64(piece-f.first) * f.pieceLength / blockSize)
}
