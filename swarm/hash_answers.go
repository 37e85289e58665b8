package swarm

import (
	"container/list"
	"crypto/sha256"
	"fmt"
	"time"

	"torrentfs/metainfo"
	"torrentfs/swarm/wire"
)

// Limits on what is told of the merkle trees (BEP 52). What waits for a peer
// has to stay under what an honest one leaves unread (defence.go).
const (
	maxAnswer     = 2048           // hashes in one answer; nobody is known to ask for more than 512
	maxQuestions  = 256            // requests for hashes that wait, of all peers
	answerMemory  = 16 << 20       // bytes of trees that are kept to answer from
	answerBurst   = 128 << 10      // bytes of hashes that a peer may be sent at once,
	answerRate    = 128 << 10      // and a second,
	answerShare   = 64             // and for each block that it is sent
	rehashBurst   = 512 << 20      // bytes that are read and hashed for a peer at once,
	rehashRate    = 64 << 20       // and a second
	rehashReading = 16 * blockSize // at a time
)

// question is a hash request that a peer is waiting to have answered.
type question struct {
	c   *peerConn
	ask wire.HashRange
}

// budget is a token bucket.
type budget struct {
	left float64
	at   time.Time
}

// take takes n of what has come together, and says whether there was enough.
func (b *budget) take(now time.Time, n, rate, burst float64) bool {
	if b.at.IsZero() {
		b.left = burst
	} else {
		b.left = min(burst, b.left+rate*now.Sub(b.at).Seconds())
	}
	b.at = now
	if n > b.left {
		return false
	}
	b.left -= n
	return true
}

// handleHashRequest queues a request for hashes, or refuses it. Peers that we
// choke are answered, too.
func (t *Torrent) handleHashRequest(c *peerConn, ask wire.HashRange) {
	if t.trees != nil && !t.cfg.NoUpload && t.mayAnswer(c, ask) {
		select {
		case t.questions <- question{c, ask}:
			return
		default:
		}
	}
	t.post(c, func(b []byte) []byte { return wire.AppendHashReject(b, ask) })
	if err := c.annoy(1); err != nil {
		c.close(err)
	}
}

// mayAnswer checks a request and takes its answer from the peer's budget.
func (t *Torrent) mayAnswer(c *peerConn, ask wire.HashRange) bool {
	i, ok := t.trees.byRoot[ask.Root]
	if !ok || !t.trees.files[i].allows(ask) || c.out.waiting() > minUnread/2 {
		return false
	}
	now := time.Now()
	sent := c.sent.Load()
	c.answers.left += float64(sent-c.answersSent) / blockSize * answerShare
	c.answersSent = sent
	return c.answers.take(now, float64(32*ask.NumHashes()), answerRate, answerBurst)
}

// allows reports whether a range lies in the file's tree, as BEP 52 wants it.
func (f *v2File) allows(a wire.HashRange) bool {
	if !a.Valid() || a.Length > maxAnswer || int(a.Base) >= f.height || int(a.Proof) > max(f.height-int(a.Base)-1, 0) {
		return false
	}
	return int64(a.Index)+int64(a.Length) <= 1<<(f.height-int(a.Base))
}

// answerer answers requests for hashes in a goroutine of its own, because it
// may have to read and hash whole pieces.
type answerer struct {
	t       *Torrent
	work    map[*peerConn]*budget // of connections that made us hash
	byKey   map[treeKey]*list.Element
	recent  list.List // *cachedTree, newest first
	held    int64     // bytes of them
	scratch []byte
}

type treeKey struct{ file, piece int } // piece -1: the file's tree above its pieces

type cachedTree struct {
	key  treeKey
	tree *metainfo.Tree
	size int64
}

// answerHashes runs until the torrent ends.
func (t *Torrent) answerHashes() {
	a := &answerer{t: t, work: map[*peerConn]*budget{}, byKey: map[treeKey]*list.Element{}}
	for {
		select {
		case q := <-t.questions:
			hashes, err := a.answer(q)
			if err != nil {
				t.log.Debug("refuse hashes: "+err.Error(), "addr", q.c.addr)
				q.c.out.add(func(b []byte) []byte { return wire.AppendHashReject(b, q.ask) })
			} else {
				q.c.out.add(func(b []byte) []byte { return wire.AppendHashes(b, q.ask, hashes) })
			}
			q.c.out.wakeWriter()
		case <-t.done:
			return
		}
	}
}

// answer puts together the hashes of a range and their uncles.
func (a *answerer) answer(q question) ([][32]byte, error) {
	t, ask := a.t, q.ask
	file := t.trees.byRoot[ask.Root]
	f := &t.trees.files[file]
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
		tree, err := a.pieceTree(q.c, file, first)
		if err != nil {
			return nil, err
		}
		if hashes, uncles, err = tree.Hashes(base, index%width, length, within); err != nil {
			return nil, err
		}
	} else {
		for p := first; p < first+length/width; p++ {
			some, err := a.pieceLayer(q.c, file, p, base, width)
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
func (a *answerer) unclesAbove(file, piece, n, proof int) ([]metainfo.SHA256, error) {
	top, err := a.layerTree(file)
	if err != nil {
		return nil, err
	}
	level := a.t.trees.files[file].level
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
func (a *answerer) pieceLayer(c *peerConn, file, piece, base, width int) ([]metainfo.SHA256, error) {
	if piece >= a.t.trees.files[file].pieces {
		pad := metainfo.PadHash(base)
		layer := make([]metainfo.SHA256, width)
		for i := range layer {
			layer[i] = pad
		}
		return layer, nil
	}
	tree, err := a.pieceTree(c, file, piece)
	if err != nil {
		return nil, err
	}
	layer, _, err := tree.Hashes(base, 0, width, 0)
	return layer, err
}

// pieceTree is the tree above the leaves of a piece of the file, hashed from
// its verified bytes where it is not at hand.
func (a *answerer) pieceTree(c *peerConn, file, piece int) (*metainfo.Tree, error) {
	key := treeKey{file, piece}
	if tree := a.cached(key); tree != nil {
		return tree, nil
	}
	f := &a.t.trees.files[file]
	if piece >= f.pieces {
		return nil, fmt.Errorf("hash piece %d of a file of %d: behind its end", piece, f.pieces)
	}
	if !a.t.store.Has(f.first + piece) {
		return nil, fmt.Errorf("hash piece %d: not held", f.first+piece)
	}
	if !a.mayHash(c) {
		return nil, fmt.Errorf("hash piece %d: the peer asks too much", f.first+piece)
	}
	leaves, err := a.hashPiece(f, f.first+piece)
	if err != nil {
		return nil, err
	}
	return a.keep(key, metainfo.NewTree(leaves, 0), 64*int64(len(leaves))), nil
}

// mayHash takes a piece from what may be hashed for a peer.
func (a *answerer) mayHash(c *peerConn) bool {
	b := a.work[c]
	if b == nil {
		if len(a.work) > 2*a.t.cfg.MaxPeers { // most are gone
			clear(a.work)
		}
		b = &budget{}
		a.work[c] = b
	}
	piece := float64(a.t.info.PieceLength())
	return b.take(time.Now(), piece, rehashRate, max(rehashBurst, 4*piece))
}

// hashPiece reads a piece and returns its leaves, filled up with zeros to the
// width of its tree.
func (a *answerer) hashPiece(f *v2File, piece int) ([]metainfo.SHA256, error) {
	t := a.t
	off := int64(piece) * t.info.PieceLength()
	left := min(f.length-int64(piece-f.first)*t.info.PieceLength(), t.info.PieceLength())
	leaves := make([]metainfo.SHA256, 0, 1<<f.level)
	if a.scratch == nil {
		a.scratch = make([]byte, rehashReading)
	}
	for left > 0 {
		if t.ctx.Err() != nil {
			return nil, ErrClosed
		}
		buf := a.scratch[:min(left, rehashReading)]
		if _, err := t.store.ReadAt(buf, off); err != nil {
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
func (a *answerer) layerTree(file int) (*metainfo.Tree, error) {
	key := treeKey{file, -1}
	if tree := a.cached(key); tree != nil {
		return tree, nil
	}
	f := &a.t.trees.files[file]
	layer := a.t.trees.whole(f)
	if layer == nil {
		return nil, fmt.Errorf("answer from a piece layer: not known")
	}
	return a.keep(key, metainfo.NewTree(layer, f.level), 32*int64(len(layer))), nil
}

func (a *answerer) cached(key treeKey) *metainfo.Tree {
	e := a.byKey[key]
	if e == nil {
		return nil
	}
	a.recent.MoveToFront(e)
	return e.Value.(*cachedTree).tree
}

// keep remembers a tree and forgets those that were not used for longest.
func (a *answerer) keep(key treeKey, tree *metainfo.Tree, size int64) *metainfo.Tree {
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
