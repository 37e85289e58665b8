package verify

import (
	"crypto/sha1" //nolint:gosec // BEP 3 hashes pieces with it
	"crypto/sha256"
	"io"

	"torrentfs/metainfo"
)

// Hashes are what a torrent says of its content, to compare streams with. They
// may be used from any goroutine.
type Hashes struct {
	info *metainfo.Info
	sums []metainfo.SHA256 // v2: the hash above each piece's leaves; zero if it is not known
	tree []int             // v2: the height of that hash
}

// NewHashes collects the hashes of a torrent. Piece layers that it lacks, as
// after a magnet link, are not known.
func NewHashes(mi *metainfo.MetaInfo) *Hashes {
	h := &Hashes{info: mi.Info}
	if !mi.Info.Hash.HasV2 {
		return h
	}
	// What each piece's tree must come to (BEP 52): an entry of the file's
	// piece layer, or for a file of one piece its root.
	h.sums = make([]metainfo.SHA256, mi.Info.NumPieces())
	h.tree = make([]int, mi.Info.NumPieces())
	level := metainfo.LevelOf(mi.Info.PieceLength())
	for i := range mi.Info.Files {
		f := &mi.Info.Files[i]
		if f.Pad || f.Link() || f.Length == 0 {
			continue
		}
		first := mi.Info.PieceOf(f.Offset)
		if f.Length <= mi.Info.PieceLength() {
			h.sums[first], h.tree[first] = f.PiecesRoot, metainfo.TreeHeight(f.Length)
			continue
		}
		for k, sum := range mi.PieceLayers[f.PiecesRoot] {
			h.sums[first+k], h.tree[first+k] = sum, level
		}
	}
	return h
}

// Piece reads a piece and reports whether its content is right. It is not known if the torrent has
// no v1 hashes and lacks the file's piece layer; then nothing is read.
func (h *Hashes) Piece(piece metainfo.Piece, r io.Reader) (right, known bool) {
	n := h.info.PieceSize(piece)
	if h.info.Hash.HasV1 {
		sum := sha1.New() //nolint:gosec // BEP 3
		if _, err := io.CopyN(sum, r, n); err != nil {
			return false, true
		}
		return metainfo.SHA1(sum.Sum(nil)) == h.info.PieceSHA1(piece), true
	}
	if h.sums[piece] == (metainfo.SHA256{}) {
		return false, false
	}
	leaves, err := leavesOf(r, n)
	return err == nil && metainfo.PieceHash(leaves, h.tree[piece]) == h.sums[piece], true
}

// File reads a whole file and reports whether its content is right. It is not
// known of v1 torrents, which have no hash of a file; then nothing is read.
func (h *Hashes) File(file int, r io.Reader) (right, known bool) {
	f := &h.info.Files[file]
	if !h.info.Hash.HasV2 || f.Length == 0 {
		return false, false
	}
	leaves, err := leavesOf(r, f.Length)
	return err == nil && metainfo.PieceHash(leaves, metainfo.TreeHeight(f.Length)) == f.PiecesRoot, true
}

// leavesOf hashes the blocks of n bytes.
func leavesOf(r io.Reader, n int64) (leaves []metainfo.SHA256, err error) {
	block := make([]byte, metainfo.BlockSize)
	for ; n > 0; n -= int64(len(block)) {
		block = block[:min(n, int64(len(block)))]
		if _, err := io.ReadFull(r, block); err != nil {
			return nil, err
		}
		leaves = append(leaves, sha256.Sum256(block))
	}
	return leaves, nil
}
