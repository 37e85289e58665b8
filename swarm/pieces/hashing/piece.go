package hashing

import (
	"crypto/sha1"
	"crypto/sha256"
	"hash"

	"torrentfs/internal/bitset"
	"torrentfs/metainfo"
	"torrentfs/picker"
	"torrentfs/swarm/hashes"
)

// piece hashes one piece while its blocks arrive, in any order, so that the last block does not add a whole piece of
// hashing to a read's wait: by SHA-1 what is contiguous (v1), and each block by itself (v2). It belongs to one hash
// worker from its first block to its verdict.
type piece struct {
	h     *Hasher
	index metainfo.Piece
	n     int        // blocks
	got   bitset.Set // blocks that arrived
	left  int        // blocks that did not
	v1    hash.Hash  // nil: v2 alone
	next  int        // first block that is not in v1 yet
	v2    *tree
	over  bool // a verdict was given: what still comes is ignored
}

// tree is the v2 half of a piece.
type tree struct {
	file   *hashes.File
	leaves []metainfo.SHA256 // of the blocks that arrived
	hashed bitset.Set        // of leaves
	proven []metainfo.SHA256 // what the leaves must be; nil before the first proof
	known  bitset.Set        // of proven
	good   bitset.Set        // blocks that are committed one by one
}

// newPiece begins a piece. Blocks of padding, and those that the store holds verified already, count as arrived and are
// read back when needed.
func newPiece(h *Hasher, index metainfo.Piece) *piece {
	n := h.info.NumBlocks(index)
	p := &piece{h: h, index: index, n: n, got: bitset.New(n), left: n}
	if h.info.Hash.HasV1 {
		p.v1 = sha1.New()
	}
	for _, r := range h.virtualIn(index) {
		for b := r.First; b < r.First+r.Count; b++ {
			p.arrived(b)
		}
	}
	if h.trees == nil {
		return p
	}
	if f := h.trees.File(index); f != nil {
		n := f.Leaves(index)
		p.v2 = &tree{file: f, leaves: make([]metainfo.SHA256, n), hashed: bitset.New(n), good: bitset.New(n)}
		for b := range n {
			if h.store.HasBlock(metainfo.Block{Piece: index, Index: b}) {
				p.arrived(b)
				p.v2.good.Set(b)
			}
		}
	}
	return p
}

func (p *piece) block(i int) metainfo.Block { return metainfo.Block{Piece: p.index, Index: i} }

func (p *piece) arrived(block int) {
	if p.got.Set(block) {
		p.left--
	}
}

// add takes a block, hashes what can be hashed, and judges the block if its leaf is known, and the piece if it is
// complete.
func (p *piece) add(block int, data, scratch []byte) (res Result) {
	res.Piece = p.index
	if p.over {
		return res
	}
	if v := p.v2; v != nil && block < len(v.leaves) {
		if v.good.Has(block) {
			return res // fetched again: the store has the right one
		}
		leaf, ok := p.leafOf(block, data)
		if !ok || v.known != nil && v.known.Has(block) && v.proven[block] != leaf {
			p.h.store.DiscardBlock(p.block(block))
			res.Bad = []int{block}
			return res
		}
		v.leaves[block] = leaf
		v.hashed.Set(block)
		if v.known != nil && v.known.Has(block) {
			if !p.commitBlock(block, &res, scratch) {
				return p.failed(res)
			}
		}
	}
	p.arrived(block)
	if res.Err = p.advance(block, data, scratch); res.Err != nil {
		return p.failed(res)
	}
	return p.judge(res, scratch)
}

// leafOf hashes a block as a leaf. It is false if the padding behind the end of the file, which no leaf covers, is not
// zeros.
func (p *piece) leafOf(block int, data []byte) (metainfo.SHA256, bool) {
	n := p.v2.file.LeafLen(p.block(block))
	for _, b := range data[n:] {
		if b != 0 {
			return metainfo.SHA256{}, false
		}
	}
	return sha256.Sum256(data[:n]), true
}

// commitBlock makes a block that is right readable at once. It is false if its file was changed since it was hashed and
// it is not there any more.
func (p *piece) commitBlock(block int, res *Result, scratch []byte) bool {
	for n := 0; !p.h.store.CommitBlock(p.block(block)); n++ {
		data, err := p.h.store.Unverified(p.block(block), scratch)
		if err != nil || n == maxStale {
			res.Err = errStale
			return false
		}
		if leaf, ok := p.leafOf(block, data); !ok || leaf != p.v2.leaves[block] {
			res.Err = errStale
			return false
		}
	}
	p.v2.good.Set(block)
	res.Good = append(res.Good, block)
	return true
}

// advance feeds the v1 hash with what is contiguous. data is that of block.
func (p *piece) advance(block int, data, scratch []byte) error {
	if p.v1 == nil {
		return nil
	}
	for p.next < p.n && p.got.Has(p.next) {
		b := data
		if p.next != block || data == nil {
			var err error
			if b, err = p.h.store.Unverified(p.block(p.next), scratch); err != nil {
				return err
			}
		}
		p.v1.Write(b)
		p.next++
	}
	return nil
}

func (p *piece) failed(res Result) Result {
	p.over = true
	res.Done = true
	return res
}

// judge gives the verdict on a piece whose blocks are all here.
func (p *piece) judge(res Result, scratch []byte) Result {
	if p.left > 0 || p.over {
		return res
	}
	if res.Err = p.advance(-1, nil, scratch); res.Err != nil {
		return p.failed(res)
	}
	v1 := p.v1 == nil || metainfo.SHA1(p.v1.Sum(nil)) == p.h.info.PieceSHA1(p.index)
	v2, known := true, false
	if p.v2 != nil {
		var want metainfo.SHA256
		if want, known = p.h.trees.Node(p.v2.file, p.index); known {
			root, err := p.v2.rootOf(p, scratch)
			if err != nil {
				res.Err = err
				return p.failed(res)
			}
			v2 = root == want
		} else if p.v1 == nil {
			res.Waits = true
			return res
		}
	}
	p.over = true
	res.Done, res.OK = true, v1 && v2
	res.Contradiction = p.v1 != nil && known && v1 != v2
	return res
}

// rootOf combines the leaves, after reading back those that came before this piece began.
func (v *tree) rootOf(p *piece, scratch []byte) (root metainfo.SHA256, err error) {
	for b := range v.leaves {
		if v.hashed.Has(b) {
			continue
		}
		data, err := p.h.store.Unverified(p.block(b), scratch)
		if err != nil {
			return root, err
		}
		v.leaves[b], _ = p.leafOf(b, data)
		v.hashed.Set(b)
	}
	return metainfo.PieceHash(v.leaves, v.file.Level()), nil
}

// prove checks what the leaves are according to a peer, and judges the blocks that are here already.
func (p *piece) prove(pr *hashes.Proof, prover picker.PeerID, scratch []byte) (res Result) {
	res = newResult(p.index)
	res.Proof, res.Prover = pr, prover
	if p.over || p.v2 == nil {
		res.Valid = true // of no use any more, and no fault
		return res
	}
	v := p.v2
	if res.Valid = pr.Holds(p.h.trees, v.file); !res.Valid {
		return res
	}
	if v.known == nil {
		v.known, v.proven = bitset.New(len(v.leaves)), make([]metainfo.SHA256, len(v.leaves))
	}
	first, leaves := pr.Leaves(v.file, p.index)
	for i, leaf := range leaves {
		b := first + i
		v.proven[b] = leaf
		v.known.Set(b)
		switch {
		case v.good.Has(b) || !v.hashed.Has(b):
		case v.leaves[b] == leaf:
			if !p.commitBlock(b, &res, scratch) {
				return p.failed(res)
			}
		default:
			p.expel(b)
			res.Bad = append(res.Bad, b)
		}
	}
	return p.judge(res, scratch) // the proof may have told the piece's own node
}

// expel takes out a block that turned out to be wrong.
func (p *piece) expel(block int) {
	p.h.store.DiscardBlock(p.block(block))
	p.v2.hashed.Clear(block)
	if p.got.Clear(block) {
		p.left++
	}
	if p.v1 != nil && block < p.next {
		p.v1.Reset()
		p.next = 0
	}
}
