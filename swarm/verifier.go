package swarm

import (
	"crypto/sha1"
	"crypto/sha256"
	"hash"
	"sync"

	"torrentfs/internal/bitset"
	"torrentfs/metainfo"
	"torrentfs/picker"
	"torrentfs/swarm/hashes"
)

// pieceHash hashes one piece while its blocks arrive, in whatever order, so
// that the last block does not add a whole piece of hashing to a read's wait:
// by SHA-1 what is contiguous (v1), and each block by itself (v2). It belongs
// to one hash worker from its first block to its result.
type pieceHash struct {
	t     *Torrent
	piece int
	n     int        // blocks
	got   bitset.Set // blocks that arrived
	left  int        // blocks that did not
	v1    hash.Hash  // nil: v2 alone
	next  int        // first block that is not in v1 yet
	v2    *pieceTree
	over  bool // a verdict was given: what still comes is ignored
}

// pieceTree is the v2 half of a pieceHash.
type pieceTree struct {
	file   *hashes.File
	leaves []metainfo.SHA256 // of the blocks that arrived
	hashed bitset.Set        // of leaves
	proven []metainfo.SHA256 // what the leaves must be; nil before the first proof
	known  bitset.Set        // of proven
	good   bitset.Set        // blocks that are committed one by one
}

// newPieceHash begins a piece. Blocks of padding, and those that the store
// holds verified already, count as arrived and are read back when needed.
func newPieceHash(t *Torrent, piece int) *pieceHash {
	n := t.info.NumBlocks(piece)
	p := &pieceHash{t: t, piece: piece, n: n, got: bitset.New(n), left: n}
	if t.info.Hash.HasV1 {
		p.v1 = sha1.New()
	}
	for _, r := range t.virtualIn(piece) {
		for b := r.First; b < r.First+r.Count; b++ {
			p.arrived(b)
		}
	}
	if t.trees == nil {
		return p
	}
	if f := t.trees.File(piece); f != nil {
		n := f.Leaves(piece)
		p.v2 = &pieceTree{file: f, leaves: make([]metainfo.SHA256, n), hashed: bitset.New(n), good: bitset.New(n)}
		for b := range n {
			if t.store.HasBlock(metainfo.Block{Piece: piece, Index: b}) {
				p.arrived(b)
				p.v2.good.Set(b)
			}
		}
	}
	return p
}

func (p *pieceHash) arrived(block int) {
	if p.got.Set(block) {
		p.left--
	}
}

// hashResult is what a hash worker or a checker found out.
type hashResult struct {
	piece     int
	of        *pieceHash // nil: a checker's
	done      bool       // the piece as a whole was judged
	ok        bool       // it is right
	clash     bool       // its v1 and its v2 hash contradict each other: the torrent is at fault
	waits     bool       // it is complete, and what its hash must be is not known yet
	err       error      // its blocks could not be read back
	notCopied bool       // it could not be copied from its duplicate

	// Of blocks that were judged by themselves (v2).
	good, bad []int

	proof  *hashes.Proof // that was judged; nil: none
	prover picker.PeerID // whose it is
	valid  bool          // it holds
}

// tells reports whether the loop has to hear of a result.
func (r *hashResult) tells() bool {
	return r.done || r.waits || r.proof != nil || len(r.good)+len(r.bad) > 0
}

// add takes a block, hashes what can be hashed, and judges the block if its
// leaf is known, and the piece if it is complete.
func (p *pieceHash) add(block int, data, scratch []byte) (res hashResult) {
	res.piece = p.piece
	if p.over {
		return res
	}
	if v := p.v2; v != nil && block < len(v.leaves) {
		if v.good.Has(block) {
			return res // fetched again: the store has the right one
		}
		leaf, ok := p.leafOf(block, data)
		if !ok || v.known != nil && v.known.Has(block) && v.proven[block] != leaf {
			p.t.store.DiscardBlock(metainfo.Block{Piece: p.piece, Index: block})
			res.bad = []int{block}
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
	if res.err = p.advance(block, data, scratch); res.err != nil {
		return p.failed(res)
	}
	return p.judge(res, scratch)
}

// leafOf hashes a block as a leaf. It is false where the padding behind the
// end of the file, which no leaf covers, is not zeros.
func (p *pieceHash) leafOf(block int, data []byte) (metainfo.SHA256, bool) {
	n := p.v2.file.LeafLen(metainfo.Block{Piece: p.piece, Index: block})
	for _, b := range data[n:] {
		if b != 0 {
			return metainfo.SHA256{}, false
		}
	}
	return sha256.Sum256(data[:n]), true
}

// commitBlock makes a block that is right readable at once. It is false if its
// file was changed since it was hashed and it is not there any more.
func (p *pieceHash) commitBlock(block int, res *hashResult, scratch []byte) bool {
	for n := 0; !p.t.store.CommitBlock(metainfo.Block{Piece: p.piece, Index: block}); n++ {
		data, err := p.t.store.Unverified(metainfo.Block{Piece: p.piece, Index: block}, scratch)
		if err != nil || n == maxStale {
			res.err = errStale
			return false
		}
		if leaf, ok := p.leafOf(block, data); !ok || leaf != p.v2.leaves[block] {
			res.err = errStale
			return false
		}
	}
	p.v2.good.Set(block)
	res.good = append(res.good, block)
	return true
}

// advance feeds the v1 hash with what is contiguous. data is that of block.
func (p *pieceHash) advance(block int, data, scratch []byte) error {
	if p.v1 == nil {
		return nil
	}
	for p.next < p.n && p.got.Has(p.next) {
		b := data
		if p.next != block || data == nil {
			var err error
			if b, err = p.t.store.Unverified(metainfo.Block{Piece: p.piece, Index: p.next}, scratch); err != nil {
				return err
			}
		}
		p.v1.Write(b)
		p.next++
	}
	return nil
}

func (p *pieceHash) failed(res hashResult) hashResult {
	p.over = true
	res.done = true
	return res
}

// judge gives the verdict on a piece whose blocks are all here.
func (p *pieceHash) judge(res hashResult, scratch []byte) hashResult {
	if p.left > 0 || p.over {
		return res
	}
	if res.err = p.advance(-1, nil, scratch); res.err != nil {
		return p.failed(res)
	}
	v1 := p.v1 == nil || metainfo.SHA1(p.v1.Sum(nil)) == p.t.info.PieceSHA1(p.piece)
	v2, known := true, false
	if p.v2 != nil {
		var want metainfo.SHA256
		if want, known = p.t.trees.Node(p.v2.file, p.piece); known {
			root, err := p.v2.rootOf(p, scratch)
			if err != nil {
				res.err = err
				return p.failed(res)
			}
			v2 = root == want
		} else if p.v1 == nil {
			res.waits = true
			return res
		}
	}
	p.over = true
	res.done, res.ok = true, v1 && v2
	res.clash = p.v1 != nil && known && v1 != v2
	return res
}

// rootOf combines the leaves, after reading back those that came before this
// pieceHash was made.
func (v *pieceTree) rootOf(p *pieceHash, scratch []byte) (root metainfo.SHA256, err error) {
	for b := range v.leaves {
		if v.hashed.Has(b) {
			continue
		}
		data, err := p.t.store.Unverified(metainfo.Block{Piece: p.piece, Index: b}, scratch)
		if err != nil {
			return root, err
		}
		v.leaves[b], _ = p.leafOf(b, data)
		v.hashed.Set(b)
	}
	return metainfo.PieceHash(v.leaves, v.file.Level()), nil
}

// prove checks what a peer says the leaves are, and judges the blocks that are
// here already.
func (p *pieceHash) prove(pr *hashes.Proof, prover picker.PeerID, scratch []byte) (res hashResult) {
	res = hashResult{piece: p.piece, proof: pr, prover: prover}
	if p.over || p.v2 == nil {
		res.valid = true // of no use any more, and no fault
		return res
	}
	v := p.v2
	if res.valid = pr.Holds(p.t.trees, v.file); !res.valid {
		return res
	}
	if v.known == nil {
		v.known, v.proven = bitset.New(len(v.leaves)), make([]metainfo.SHA256, len(v.leaves))
	}
	first, leaves := pr.Leaves(v.file, p.piece)
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
			res.bad = append(res.bad, b)
		}
	}
	return p.judge(res, scratch) // the proof may have told the piece's own node
}

// expel takes out a block that turned out to be wrong.
func (p *pieceHash) expel(block int) {
	p.t.store.DiscardBlock(metainfo.Block{Piece: p.piece, Index: block})
	p.v2.hashed.Clear(block)
	if p.got.Clear(block) {
		p.left++
	}
	if p.v1 != nil && block < p.next {
		p.v1.Reset()
		p.next = 0
	}
}

// hashJob is a block for a hash worker, which shares data with the store; or a
// proof; or, with neither, a piece to be judged because its layer is known now.
type hashJob struct {
	p      *pieceHash
	block  int
	data   []byte
	proof  *hashes.Proof
	prover picker.PeerID // whose proof it is
}

func (j *hashJob) do(scratch []byte) hashResult {
	switch {
	case j.proof != nil:
		return j.p.prove(j.proof, j.prover, scratch)
	case j.data == nil:
		return j.p.judge(hashResult{piece: j.p.piece}, scratch)
	}
	return j.p.add(j.block, j.data, scratch)
}

// hashPool is the session's hash workers. All blocks of a piece go to the same
// worker, which so needs no lock on the piece. Queues are not bounded here:
// the picker's credit bounds what is requested.
type hashPool struct {
	workers []*hashWorker
	wg      sync.WaitGroup
}

type hashWorker struct {
	mu    sync.Mutex
	cond  sync.Cond
	queue []hashJob
	ended bool
}

func newHashPool(n int) *hashPool {
	pool := &hashPool{}
	for range n {
		w := &hashWorker{}
		w.cond.L = &w.mu
		pool.workers = append(pool.workers, w)
		pool.wg.Go(w.run)
	}
	return pool
}

func (pool *hashPool) submit(j hashJob) {
	w := pool.workers[j.p.piece%len(pool.workers)]
	w.mu.Lock()
	w.queue = append(w.queue, j)
	w.mu.Unlock()
	w.cond.Signal()
}

// close ends the workers; the torrents have ended before.
func (pool *hashPool) close() {
	for _, w := range pool.workers {
		w.mu.Lock()
		w.ended = true
		w.mu.Unlock()
		w.cond.Signal()
	}
	pool.wg.Wait()
}

func (w *hashWorker) run() {
	scratch := make([]byte, blockSize)
	var batch []hashJob
	for {
		w.mu.Lock()
		for len(w.queue) == 0 && !w.ended {
			w.cond.Wait()
		}
		if w.ended {
			w.mu.Unlock()
			return
		}
		batch, w.queue = w.queue, batch[:0]
		w.mu.Unlock()
		for i := range batch {
			j := &batch[i]
			t := j.p.t
			n := int64(len(j.data))
			if res := j.do(scratch); res.tells() {
				right := res.ok
				res = t.commit(res, scratch) // here, not in the loop: readers see it at once
				res.of = j.p
				if right && !res.ok && !res.clash {
					res.err = errStale // nobody who sent it is to blame
				}
				select {
				case t.hashed <- res:
				case <-t.done:
				}
			}
			t.hashBacklog.Add(-n)
			t.hashJobs.Done()
			batch[i] = hashJob{} // the collector may have the block
		}
	}
}
