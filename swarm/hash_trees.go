package swarm

import (
	"sort"
	"sync"

	"torrentfs/internal/bitset"
	"torrentfs/metainfo"
)

// hashTrees is what is known of the merkle trees of a v2 or hybrid torrent's
// files (BEP 52): of each file its root, and the hashes of its pieces, which
// the torrent has or peers prove. It is shared by the loop, the hash workers
// and the checkers.
type hashTrees struct {
	// Immutable.
	info   *metainfo.Info
	files  []v2File // those with content, by first piece
	byRoot map[metainfo.SHA256]int

	mu      sync.Mutex // guards what is marked in v2File, and missing; a leaf
	missing int        // files whose piece layer is not complete
}

// v2File is one file's tree.
type v2File struct {
	// Immutable.
	root   metainfo.SHA256
	first  int   // piece
	pieces int   // number of them
	length int64 // bytes
	height int   // level of the root
	level  int   // of a piece's node; the root's for a file of one piece

	// Guarded by hashTrees.mu.
	layer []metainfo.SHA256 // nodes of the pieces; not changed once known is nil
	known bitset.Set        // of layer; nil: all of it
	gaps  int               // nodes that are not known
}

// newHashTrees makes the trees of a torrent; layers are those of the torrent
// and already proven. It returns nil for a v1 torrent.
func newHashTrees(info *metainfo.Info, layers map[metainfo.SHA256][]metainfo.SHA256) *hashTrees {
	if !info.Hash.HasV2 {
		return nil
	}
	h := &hashTrees{info: info, byRoot: map[metainfo.SHA256]int{}}
	for i := range info.Files {
		f := &info.Files[i]
		if f.Length == 0 || f.Pad || f.Link() {
			continue
		}
		v := v2File{
			root: f.PiecesRoot, first: info.PieceOf(f.Offset), length: f.Length,
			height: metainfo.TreeHeight(f.Length), level: metainfo.LevelOf(info.PieceLength()),
		}
		v.pieces = info.PieceOf(f.Offset+f.Length-1) - v.first + 1
		switch layer := layers[f.PiecesRoot]; {
		case v.pieces == 1:
			v.level, v.layer = v.height, []metainfo.SHA256{v.root}
		case len(layer) == v.pieces:
			v.layer = layer
		default:
			v.layer, v.known, v.gaps = make([]metainfo.SHA256, v.pieces), bitset.New(v.pieces), v.pieces
			h.missing++
		}
		if _, twin := h.byRoot[v.root]; !twin {
			h.byRoot[v.root] = len(h.files)
		}
		h.files = append(h.files, v)
	}
	return h
}

// at is the file of a piece, nil where the piece is padding throughout.
func (h *hashTrees) at(piece int) *v2File {
	i := sort.Search(len(h.files), func(i int) bool { return h.files[i].first+h.files[i].pieces > piece })
	if i == len(h.files) || h.files[i].first > piece {
		return nil
	}
	return &h.files[i]
}

// node is the hash that a piece's tree must come to, if it is known.
func (h *hashTrees) node(f *v2File, piece int) (metainfo.SHA256, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := piece - f.first
	if f.known != nil && !f.known.Has(i) {
		return metainfo.SHA256{}, false
	}
	return f.layer[i], true
}

// learn takes proven nodes of a file's piece layer, from one on, and says
// whether any was new. Those behind the end of the file are passed over.
func (h *hashTrees) learn(f *v2File, from int, nodes []metainfo.SHA256) (fresh bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f.known == nil {
		return false
	}
	for i, n := range nodes[:max(min(len(nodes), f.pieces-from), 0)] {
		if f.known.Set(from + i) {
			f.layer[from+i] = n
			f.gaps--
			fresh = true
		}
	}
	if f.gaps == 0 {
		f.known = nil
		h.missing--
	}
	return fresh
}

// whole is a file's piece layer, nil while some of it is not known.
func (h *hashTrees) whole(f *v2File) []metainfo.SHA256 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f.known != nil {
		return nil
	}
	return f.layer
}

// lacks reports whether any node of a piece layer is still unknown.
func (h *hashTrees) lacks() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.missing > 0
}

// gapFrom is the first unknown node of a file's layer at or after one, or -1.
func (h *hashTrees) gapFrom(f *v2File, from int) int {
	h.mu.Lock()
	defer h.mu.Unlock()
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

// leaves is how many leaves of the file lie in a piece: blocks of padding that
// follow in a hybrid have none.
func (f *v2File) leaves(piece int, pieceLength int64) int {
	rest := f.length - int64(piece-f.first)*pieceLength
	return int((min(rest, pieceLength) + blockSize - 1) / blockSize)
}

// leafLen is how many bytes of a block its leaf covers: in a hybrid the rest of
// the file's last block is padding.
func (f *v2File) leafLen(piece, block int, pieceLength int64) int {
	return int(min(f.length-int64(piece-f.first)*pieceLength-int64(block)*blockSize, blockSize))
}

// leafIndex is the number of a piece's first leaf within the file.
func (f *v2File) leafIndex(piece int, perPiece int) int { return (piece - f.first) * perPiece }
