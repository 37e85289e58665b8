package hashes

import (
	"math/bits"

	"torrentfs/metainfo"
	"torrentfs/swarm/wire"
)

// maxAsk is the longest run of hashes that is asked for at once (BEP 52:
// "SHOULD NOT be greater than 512").
const maxAsk = wire.MaxHashLength

// Proof is a peer's answer to a hash request.
type Proof struct {
	Ask    wire.HashRange
	Hashes []metainfo.SHA256 // Ask.NumHashes() of them: those of the range, then their uncles, lowest first
}

// Holds checks leaves against what is known of a file's tree: the node of
// their piece, else the root. In the second case it learns the piece's node.
func (p *Proof) Holds(trees *Trees, f *File) bool {
	hashes, uncles := p.Hashes[:p.Ask.Length], p.Hashes[p.Ask.Length:]
	height := bits.TrailingZeros32(p.Ask.Length)
	within := f.level - height // uncles up to the node of the piece
	if within < 0 || within > len(uncles) {
		return false
	}
	node, level, at, err := metainfo.ProofNode(0, int(p.Ask.Index), hashes, uncles[:within])
	if err != nil || level != f.level || at >= f.pieces {
		return false
	}
	if want, known := trees.Node(f, f.first+metainfo.Piece(at)); known {
		return node == want
	}
	if metainfo.VerifyProof(level, at, []metainfo.SHA256{node}, uncles[within:], f.root, f.height, 0) != nil {
		return false
	}
	trees.learn(f, at, []metainfo.SHA256{node})
	return true
}

// layerHolds checks nodes of a piece layer against the file's root, and learns them.
func (p *Proof) layerHolds(trees *Trees, f *File) bool {
	hashes, uncles := p.Hashes[:p.Ask.Length], p.Hashes[p.Ask.Length:]
	if metainfo.VerifyProof(f.level, int(p.Ask.Index), hashes, uncles, f.root, f.height, 0) != nil {
		return false
	}
	trees.learn(f, int(p.Ask.Index), hashes)
	return true
}

// Leaves returns the leaves of a piece of the file that were proven, and the
// block that the first belongs to.
func (p *Proof) Leaves(f *File, piece metainfo.Piece) (first int, leaves []metainfo.SHA256) {
	first = int(p.Ask.Index) - f.leafIndex(piece)
	return first, p.Hashes[:min(int(p.Ask.Length), f.Leaves(piece)-first)]
}

// leafRange is the request for the leaves of a run of n blocks, a power of two,
// in which a block lies: proven to the node of the piece if that is known, else
// to the root.
func (t *Trees) leafRange(f *File, b metainfo.Block, n int) wire.HashRange {
	top := f.level
	if _, known := t.Node(f, b.Piece); !known {
		top = f.height
	}
	first := f.leafIndex(b.Piece) + b.Index
	return wire.HashRange{
		Root: f.root, Index: uint32(first &^ (n - 1)), Length: uint32(n), Proof: uint32(max(top-1, 0)),
	}
}

// layerRange is the request for the part of a file's piece layer that holds a
// piece of it (counted from the file's first), proven to the root.
func layerRange(f *File, at int) wire.HashRange {
	n := min(1<<(f.height-f.level), maxAsk)
	return wire.HashRange{
		Root: f.root, Base: uint32(f.level), Index: uint32(at &^ (n - 1)), Length: uint32(n),
		Proof: uint32(f.height - f.level - 1),
	}
}
