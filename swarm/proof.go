package swarm

import (
	"math/bits"

	"torrentfs/metainfo"
	"torrentfs/swarm/wire"
)

// maxAsk is the longest run of hashes that is asked for at once (BEP 52:
// "SHOULD NOT be greater than 512").
const maxAsk = wire.MaxHashLength

// proof is a peer's answer to a hash request: the hashes, then their uncles,
// lowest first.
type proof struct {
	ask    wire.HashRange
	hashes []metainfo.SHA256
	from   *peerConn
}

// holds checks leaves against what is known of a file's tree: the node of
// their piece, else the root. In the second case it learns the piece's node.
func (p *proof) holds(trees *hashTrees, f *v2File) bool {
	hashes, uncles := p.hashes[:p.ask.Length], p.hashes[p.ask.Length:]
	height := bits.TrailingZeros32(p.ask.Length)
	within := f.level - height // uncles up to the node of the piece
	if within < 0 || within > len(uncles) {
		return false
	}
	node, level, at, err := metainfo.ProofNode(0, int(p.ask.Index), hashes, uncles[:within])
	if err != nil || level != f.level || at >= f.pieces {
		return false
	}
	if want, known := trees.node(f, f.first+at); known {
		return node == want
	}
	if metainfo.VerifyProof(level, at, []metainfo.SHA256{node}, uncles[within:], f.root, f.height, 0) != nil {
		return false
	}
	trees.learn(f, at, []metainfo.SHA256{node})
	return true
}

// layerHolds checks nodes of a piece layer against the file's root, and learns them.
func (p *proof) layerHolds(trees *hashTrees, f *v2File) bool {
	hashes, uncles := p.hashes[:p.ask.Length], p.hashes[p.ask.Length:]
	if metainfo.VerifyProof(f.level, int(p.ask.Index), hashes, uncles, f.root, f.height, 0) != nil {
		return false
	}
	trees.learn(f, int(p.ask.Index), hashes)
	return true
}

// leafAsk is the request for the leaves of a run of n blocks, a power of two,
// in which a block of a piece lies: proven to the node of the piece where that
// is known, else to the root.
func (t *Torrent) leafAsk(f *v2File, piece, block, n int) wire.HashRange {
	top := f.level
	if _, known := t.trees.node(f, piece); !known {
		top = f.height
	}
	first := f.leafIndex(piece, t.info.BlocksPerPiece()) + block
	return wire.HashRange{
		Root: f.root, Index: uint32(first &^ (n - 1)), Length: uint32(n), Proof: uint32(max(top-1, 0)),
	}
}

// layerAsk is the request for the part of a file's piece layer that holds a
// piece of it (counted from the file's first), proven to the root.
func layerAsk(f *v2File, at int) wire.HashRange {
	n := min(1<<(f.height-f.level), maxAsk)
	return wire.HashRange{
		Root: f.root, Base: uint32(f.level), Index: uint32(at &^ (n - 1)), Length: uint32(n),
		Proof: uint32(f.height - f.level - 1),
	}
}
