package hashes

import (
	"container/list"
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"torrentfs/internal/budget"
	"torrentfs/metainfo"
	"torrentfs/picker"
	"torrentfs/swarm/wire"
)

// Limits on what is told of the merkle trees (BEP 52).
const (
	maxAnswer     = 2048           // hashes in one answer; nobody is known to ask for more than 512
	answerMemory  = 16 << 20       // bytes of trees that are kept to answer from
	answerBurst   = 128 << 10      // bytes of hashes that a peer may be sent at once,
	answerRate    = 128 << 10      // and a second,
	answerShare   = 64             // and for each block that it is sent
	rehashBurst   = 512 << 20      // bytes that are read and hashed for a peer at once,
	rehashRate    = 64 << 20       // and a second
	rehashReading = 16 * blockSize // at a time
)

// Allowance is how many bytes of hashes one peer may still be sent. The zero
// value is that of a new peer.
type Allowance struct {
	left budget.Budget
	sent int64 // bytes of blocks, when it was last looked at
}

// Admit reports whether a request is to be answered: it names a range that BEP
// 52 allows in one of the trees, and the peer's allowance covers the answer,
// which is taken from it. sent is how many bytes of blocks the peer was sent so
// far, which earn it hashes.
func (t *Trees) Admit(now time.Time, a *Allowance, ask wire.HashRange, sent int64) bool {
	i, ok := t.byRoot[ask.Root]
	if !ok || !t.files[i].allows(ask) {
		return false
	}
	a.left.Add(float64(sent-a.sent) / blockSize * answerShare)
	a.sent = sent
	return a.left.Take(now, float64(32*ask.NumHashes()), answerRate, answerBurst)
}

// allows reports whether a range lies in the file's tree, as BEP 52 wants it.
func (f *File) allows(a wire.HashRange) bool {
	if !a.Valid() || a.Length > maxAnswer || int(a.Base) >= f.height || int(a.Proof) > max(f.height-int(a.Base)-1, 0) {
		return false
	}
	return int64(a.Index)+int64(a.Length) <= 1<<(f.height-int(a.Base))
}

// Store is what an Answerer needs of the torrent's content.
type Store interface {
	Has(piece metainfo.Piece) bool                 // it is verified
	ReadAt(p []byte, off int64) (n int, err error) // of the piece space; verified bytes alone
}

// Answerer answers requests for hashes. It may have to read and hash whole
// pieces, so it belongs to a goroutine of its own.
type Answerer struct {
	trees    *Trees
	store    Store
	maxPeers int
	work     map[picker.PeerID]*budget.Budget // of peers that made us hash
	byKey    map[treeKey]*list.Element
	recent   list.List // *cachedTree, newest first
	held     int64     // bytes of them
	scratch  []byte
}

type treeKey struct {
	file  int
	piece metainfo.Piece // of the file; -1: the file's tree above its pieces
}

type cachedTree struct {
	key  treeKey
	tree *metainfo.Tree
	size int64
}

// NewAnswerer returns one for a torrent that has at most maxPeers peers at a time.
func NewAnswerer(trees *Trees, store Store, maxPeers int) *Answerer {
	return &Answerer{
		trees: trees, store: store, maxPeers: maxPeers,
		work: map[picker.PeerID]*budget.Budget{}, byKey: map[treeKey]*list.Element{},
	}
}

// request is by whom and when hashes were asked for.
type request struct {
	now  time.Time
	peer picker.PeerID
}

// Answer returns the payload of a hashes message: the hashes of a range that
// was admitted, and their uncles. It reads and hashes as much as the peer may
// cause, until ctx ends. The error says why there is no answer.
func (a *Answerer) Answer(ctx context.Context, now time.Time, peer picker.PeerID, ask wire.HashRange) ([][32]byte, error) {
	q := request{now, peer}
	file := a.trees.byRoot[ask.Root]
	f := &a.trees.files[file]
	base, index, length, proof := int(ask.Base), int(ask.Index), int(ask.Length), int(ask.Proof)
	if base >= f.level {
		top, err := a.layerTree(file)
		if err != nil {
			return nil, err
		}
		hashes, uncles, err := top.Hashes(base, index, length, proof)
		return flatten(hashes, uncles), err
	}
	width := 1 << (f.level - base) // hashes of a piece in the base layer
	first := index / width
	within := min(proof, f.level-base-1)
	var hashes, uncles []metainfo.SHA256
	if length <= width {
		tree, err := a.pieceTree(ctx, q, file, first)
		if err != nil {
			return nil, err
		}
		if hashes, uncles, err = tree.Hashes(base, index%width, length, within); err != nil {
			return nil, err
		}
	} else {
		for p := first; p < first+length/width; p++ {
			some, err := a.pieceLayer(ctx, q, file, p, base, width)
			if err != nil {
				return nil, err
			}
			hashes = append(hashes, some...)
		}
	}
	if proof <= within {
		return flatten(hashes, uncles), nil
	}
	above, err := a.unclesAbove(file, first, max(length/width, 1), proof-(f.level-base))
	if err != nil {
		return nil, err
	}
	return flatten(hashes, append(uncles, above...)), nil
}

// unclesAbove is the part of a proof that lies in and above the piece layer,
// for a run of pieces.
func (a *Answerer) unclesAbove(file, piece, n, proof int) ([]metainfo.SHA256, error) {
	top, err := a.layerTree(file)
	if err != nil {
		return nil, err
	}
	level := a.trees.files[file].level
	if n > 1 {
		_, uncles, err := top.Hashes(level, piece, n, proof)
		return uncles, err
	}
	pair, uncles, err := top.Hashes(level, piece&^1, 2, proof)
	if err != nil {
		return nil, err
	}
	return append([]metainfo.SHA256{pair[piece&1^1]}, uncles...), nil
}

// pieceLayer is one layer of the tree of a piece, all of it; behind the end of
// the file it is padding.
func (a *Answerer) pieceLayer(ctx context.Context, q request, file, piece, base, width int) ([]metainfo.SHA256, error) {
	if piece >= a.trees.files[file].pieces {
		pad := metainfo.PadHash(base)
		layer := make([]metainfo.SHA256, width)
		for i := range layer {
			layer[i] = pad
		}
		return layer, nil
	}
	tree, err := a.pieceTree(ctx, q, file, piece)
	if err != nil {
		return nil, err
	}
	layer, _, err := tree.Hashes(base, 0, width, 0)
	return layer, err
}

// pieceTree is the tree above the leaves of a piece of the file, hashed from
// its verified bytes if it is not at hand.
func (a *Answerer) pieceTree(ctx context.Context, q request, file int, piece metainfo.Piece) (*metainfo.Tree, error) {
	key := treeKey{file, piece}
	if tree := a.cached(key); tree != nil {
		return tree, nil
	}
	f := &a.trees.files[file]
	if piece >= f.pieces {
		return nil, fmt.Errorf("hash piece %d of a file of %d: behind its end", piece, f.pieces)
	}
	if !a.store.Has(f.first + metainfo.Piece(piece)) {
		return nil, fmt.Errorf("hash piece %d: not held", f.first+piece)
	}
	if !a.mayHash(q, f.pieceLength) {
		return nil, fmt.Errorf("hash piece %d: the peer asks too much", f.first+piece)
	}
	leaves, err := a.hashPiece(ctx, f, f.first+metainfo.Piece(piece))
	if err != nil {
		return nil, err
	}
	return a.keep(key, metainfo.NewTree(leaves, 0), 64*int64(len(leaves))), nil
}

// mayHash takes a piece from what may be hashed for a peer.
func (a *Answerer) mayHash(q request, pieceLength int64) bool {
	b := a.work[q.peer]
	if b == nil {
		if len(a.work) > 2*a.maxPeers { // most are gone
			clear(a.work)
		}
		b = &budget.Budget{}
		a.work[q.peer] = b
	}
	piece := float64(pieceLength)
	return b.Take(q.now, piece, rehashRate, max(rehashBurst, 4*piece))
}

// hashPiece reads a piece and returns its leaves, filled up with zeros to the
// width of its tree.
func (a *Answerer) hashPiece(ctx context.Context, f *File, piece metainfo.Piece) ([]metainfo.SHA256, error) {
	off, left := int64(piece)*f.pieceLength, f.Bytes(piece)
	leaves := make([]metainfo.SHA256, 0, 1<<f.level)
	if a.scratch == nil {
		a.scratch = make([]byte, rehashReading)
	}
	for left > 0 {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("hash piece %d: %w", piece, err)
		}
		buf := a.scratch[:min(left, rehashReading)]
		if _, err := a.store.ReadAt(buf, off); err != nil {
			return nil, fmt.Errorf("hash piece %d: %w", piece, err)
		}
		off, left = off+int64(len(buf)), left-int64(len(buf))
		for len(buf) > 0 {
			n := min(len(buf), blockSize)
			leaves = append(leaves, sha256.Sum256(buf[:n]))
			buf = buf[n:]
		}
	}
	return leaves[:1<<f.level], nil
}

// layerTree is a file's tree from its pieces up.
func (a *Answerer) layerTree(file int) (*metainfo.Tree, error) {
	key := treeKey{file, -1}
	if tree := a.cached(key); tree != nil {
		return tree, nil
	}
	f := &a.trees.files[file]
	layer := a.trees.Layer(f)
	if layer == nil {
		return nil, fmt.Errorf("answer from a piece layer: not known")
	}
	return a.keep(key, metainfo.NewTree(layer, f.level), 32*int64(len(layer))), nil
}

func (a *Answerer) cached(key treeKey) *metainfo.Tree {
	e := a.byKey[key]
	if e == nil {
		return nil
	}
	a.recent.MoveToFront(e)
	return e.Value.(*cachedTree).tree
}

// keep remembers a tree and forgets those that were not used for longest.
func (a *Answerer) keep(key treeKey, tree *metainfo.Tree, size int64) *metainfo.Tree {
	a.byKey[key] = a.recent.PushFront(&cachedTree{key, tree, size})
	a.held += size
	for a.held > answerMemory && a.recent.Len() > 1 {
		old := a.recent.Remove(a.recent.Back()).(*cachedTree)
		delete(a.byKey, old.key)
		a.held -= old.size
	}
	return tree
}

// flatten is the payload of a hashes message.
func flatten(hashes, uncles []metainfo.SHA256) [][32]byte {
	b := make([][32]byte, 0, len(hashes)+len(uncles))
	for _, h := range hashes {
		b = append(b, h)
	}
	for _, h := range uncles {
		b = append(b, h)
	}
	return b
}
