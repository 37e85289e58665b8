package metainfo

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math/bits"
)

// Merkle trees of BEP 52. Level 0 holds the leaves, each the SHA-256 of one
// block; a node of level k covers 2^k blocks. Behind the end of a file, leaves
// are 32 zero bytes up to the next power of two.

// HashPair is the node above two others.
func HashPair(left, right SHA256) SHA256 {
	var b [64]byte
	copy(b[:32], left[:])
	copy(b[32:], right[:])
	return sha256.Sum256(b[:])
}

// PadHash is the node at a level that covers only leaves behind the end.
func PadHash(level int) (h SHA256) {
	for range level {
		h = HashPair(h, h)
	}
	return h
}

// LevelOf is the level whose nodes cover length bytes, which is a power of two
// and at least BlockSize: the level of the piece layer for a piece length.
func LevelOf(length int64) int { return bits.Len64(uint64(length)/BlockSize) - 1 }

// TreeHeight is the level of the root of a file of length bytes; 0 for one of
// at most a block.
func TreeHeight(length int64) int {
	blocks := ceilDiv(length, BlockSize)
	if blocks <= 1 {
		return 0
	}
	return bits.Len64(uint64(blocks - 1))
}

// LayerRoot is the root above a layer of nodes of the given level, filled up
// with PadHash to a power of two. The layer itself stays as it is. An empty
// layer has the root PadHash(level).
func LayerRoot(layer []SHA256, level int) SHA256 {
	if len(layer) == 0 {
		return PadHash(level)
	}
	return rootOf(layer, level, bits.Len(uint(len(layer)-1)))
}

// PieceHash is the node of a piece layer above the leaves of one piece: for
// levels = LevelOf(piece length), missing leaves count as zeros. It is also the
// root of a file of one piece when levels is the file's TreeHeight.
func PieceHash(leaves []SHA256, levels int) SHA256 { return rootOf(leaves, 0, levels) }

// rootOf combines at most 2^height nodes of a level to the node height levels
// above.
func rootOf(layer []SHA256, level, height int) SHA256 {
	if len(layer) > 1<<height {
		panic("metainfo: layer exceeds its tree")
	}
	nodes := layer
	pad := PadHash(level)
	for i := range height {
		n := (len(nodes) + 1) / 2
		up := nodes[:0]
		if i == 0 {
			up = make([]SHA256, 0, n) // the caller's layer is not ours to overwrite
		}
		for k := range n {
			right := pad
			if 2*k+1 < len(nodes) {
				right = nodes[2*k+1]
			}
			up = append(up, HashPair(nodes[2*k], right))
		}
		nodes, pad = up, HashPair(pad, pad)
	}
	if len(nodes) == 0 {
		return pad
	}
	return nodes[0]
}

// ErrProof: hashes and their uncles do not lead to the expected node.
var ErrProof = errors.New("hashes do not prove the tree node")

// ProofNode combines the hashes of a "hashes" message (BEP 52) to the node
// that they prove. The hashes are a run of a power of two of nodes of level
// base, from index, a multiple of their number; uncles are the siblings on the
// way up, lowest first. It returns the node above all of them and where it is.
func ProofNode(base, index int, hashes, uncles []SHA256) (node SHA256, level, at int, err error) {
	n := len(hashes)
	const maxHeight = 62
	if n == 0 || n&(n-1) != 0 || index < 0 || index%n != 0 || base < 0 {
		return node, 0, 0, fmt.Errorf("combine hashes: %d from index %d of level %d: not a subtree: %w", n, index, base, ErrProof)
	}
	height := bits.Len(uint(n)) - 1
	level = base + height + len(uncles)
	if level > maxHeight {
		return node, 0, 0, fmt.Errorf("combine hashes: level %d: higher than any tree: %w", level, ErrProof)
	}
	node = rootOf(hashes, base, height)
	at = index >> height
	for _, u := range uncles {
		if at&1 == 0 {
			node = HashPair(node, u)
		} else {
			node = HashPair(u, node)
		}
		at >>= 1
	}
	return node, level, at, nil
}

// VerifyProof checks that hashes and uncles (see ProofNode) lead to the node
// want, which the caller knows to be at the given level and index: the root of
// a file (TreeHeight, 0) or an entry of its piece layer. The error wraps
// ErrProof.
func VerifyProof(base, index int, hashes, uncles []SHA256, want SHA256, level, at int) error {
	node, l, a, err := ProofNode(base, index, hashes, uncles)
	if err != nil {
		return err
	}
	if l != level || a != at || node != want {
		return fmt.Errorf("verify hashes of level %d from index %d: %w", base, index, ErrProof)
	}
	return nil
}

// Tree holds a file's tree from one layer up to the root, to answer hash
// requests from. It does not change and may be shared.
type Tree struct {
	base   int
	height int        // level of the root
	layers [][]SHA256 // from base to the root, without the nodes behind the end
	pads   []SHA256   // the nodes behind the end, by level from base
}

// NewTree builds the tree over a layer of nodes of level base. It takes about
// twice the memory of the layer and keeps the layer itself.
func NewTree(layer []SHA256, base int) *Tree {
	pad := PadHash(base)
	t := &Tree{base: base, height: base, layers: [][]SHA256{layer}, pads: []SHA256{pad}}
	for len(layer) > 1 {
		up := make([]SHA256, (len(layer)+1)/2)
		for k := range up {
			right := pad
			if 2*k+1 < len(layer) {
				right = layer[2*k+1]
			}
			up[k] = HashPair(layer[2*k], right)
		}
		layer, pad = up, HashPair(pad, pad)
		t.layers, t.pads = append(t.layers, layer), append(t.pads, pad)
		t.height++
	}
	return t
}

// Root is the root of the tree.
func (t *Tree) Root() SHA256 { return t.node(t.height, 0) }

// Height is the level of the root.
func (t *Tree) Height() int { return t.height }

// node returns any node from the base up, those behind the end included.
func (t *Tree) node(level, index int) SHA256 {
	if l := t.layers[level-t.base]; index < len(l) {
		return l[index]
	}
	return t.pads[level-t.base]
}

// Hashes answers a hash request (BEP 52): length nodes of level base from
// index, and behind them the uncles of the first proof layers above base, less
// those that the hashes themselves give. The error says why there is no
// answer: a layer that the tree does not hold, or a range that is no aligned
// subtree of it. Length is bounded by the size of the tree, so an answer never
// exceeds that.
func (t *Tree) Hashes(base, index, length, proof int) (hashes, uncles []SHA256, err error) {
	fail := func(why string) error {
		return fmt.Errorf("answer hash request for %d of level %d from index %d: %s", length, base, index, why)
	}
	switch {
	case base < t.base || base > t.height:
		return nil, nil, fail("layer not held")
	case length < 2 || length&(length-1) != 0 || index < 0 || index%length != 0:
		return nil, nil, fail("not an aligned power of two from 2 up")
	}
	width := 1 << (t.height - base)
	switch {
	case length > width || index > width-length:
		return nil, nil, fail("behind the end of the tree")
	case proof < 0 || proof > max(t.height-base-1, 0):
		return nil, nil, fail("more proof layers than the tree has")
	}
	hashes = make([]SHA256, length)
	for i := range hashes {
		hashes[i] = t.node(base, index+i)
	}
	height := bits.Len(uint(length)) - 1
	for k := height; k <= proof; k++ {
		uncles = append(uncles, t.node(base+k, (index>>k)^1))
	}
	return hashes, uncles, nil
}
