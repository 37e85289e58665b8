package swarm

import (
	"crypto/sha1"
	"hash"
	"sync"

	"torrentfs/metainfo"
)

// pieceHash hashes one v1 piece while its blocks arrive, in whatever order, so
// that the last block does not add a whole piece of hashing to a read's wait.
// It belongs to one hash worker from its first block to its result.
type pieceHash struct {
	t     *Torrent
	piece int
	hash  hash.Hash
	got   bitfield // blocks that arrived
	next  int      // first block that is not hashed yet
}

func newPieceHash(t *Torrent, piece int) *pieceHash {
	p := &pieceHash{t: t, piece: piece, hash: sha1.New(), got: newBitfield(t.info.NumBlocks(piece))}
	for _, r := range t.virtualIn(piece) {
		for b := r.First; b < r.First+r.Count; b++ {
			p.got.set(b)
		}
	}
	return p
}

// pieceResult is a hash worker's verdict on a piece.
type pieceResult struct {
	piece int
	ok    bool
	err   error // the blocks could not be read back
}

// add takes a block, hashes what is contiguous, and reports whether the piece is done.
func (p *pieceHash) add(block int, data, scratch []byte) (pieceResult, bool) {
	p.got.set(block)
	n := p.t.info.NumBlocks(p.piece)
	for p.next < n && p.got.has(p.next) {
		b := data
		if p.next != block || data == nil {
			var err error
			if b, err = p.t.store.Unverified(p.piece, p.next, scratch); err != nil {
				return pieceResult{piece: p.piece, err: err}, true
			}
		}
		p.hash.Write(b)
		p.next++
	}
	if p.next < n {
		return pieceResult{}, false
	}
	ok := metainfo.SHA1(p.hash.Sum(nil)) == p.t.info.PieceSHA1(p.piece)
	return pieceResult{piece: p.piece, ok: ok}, true
}

// hashJob is one block for a hash worker. It shares data with the store.
type hashJob struct {
	p     *pieceHash
	block int
	data  []byte
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
		for i, j := range batch {
			t := j.p.t
			n := int64(len(j.data))
			if res, done := j.p.add(j.block, j.data, scratch); done {
				if res.ok {
					t.store.Commit(res.piece) // here, not in the loop: readers see it at once
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
