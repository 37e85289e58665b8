package hashing

import (
	"sync"

	"torrentfs/metainfo"
	"torrentfs/picker"
	"torrentfs/swarm/hashes"
)

// job is a block for a hash worker, which shares data with the store; or a proof; or, with neither, a piece to be judged
// because its hash is known now.
type job struct {
	p      *piece
	block  int
	data   []byte
	proof  *hashes.Proof
	prover picker.PeerID // whose proof it is
}

func (j *job) do(scratch []byte) Result {
	switch {
	case j.proof != nil:
		return j.p.prove(j.proof, j.prover, scratch)
	case j.data == nil:
		return j.p.judge(newResult(j.p.index), scratch)
	}
	return j.p.add(j.block, j.data, scratch)
}

// Pool is the hash workers of a session. All blocks of a piece go to the same worker, which so needs no lock on the
// piece.
type Pool struct {
	workers []*worker
	wg      sync.WaitGroup
}

type worker struct {
	mu    sync.Mutex
	cond  sync.Cond
	queue []job
	ended bool
}

// NewPool starts n hash workers.
func NewPool(n int) *Pool {
	pool := &Pool{}
	for range n {
		w := &worker{}
		w.cond.L = &w.mu
		pool.workers = append(pool.workers, w)
		pool.wg.Go(w.run)
	}
	return pool
}

func (pool *Pool) submit(j job) {
	w := pool.workers[int(j.p.index)%len(pool.workers)]
	w.mu.Lock()
	w.queue = append(w.queue, j)
	w.mu.Unlock()
	w.cond.Signal()
}

// Close ends the workers and waits for them; the torrents have ended before.
func (pool *Pool) Close() {
	for _, w := range pool.workers {
		w.mu.Lock()
		w.ended = true
		w.mu.Unlock()
		w.cond.Signal()
	}
	pool.wg.Wait()
}

func (w *worker) run() {
	scratch := make([]byte, blockSize)
	var batch []job
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
			batch[i].run(scratch)
			batch[i] = job{} // the collector may have the block
		}
	}
}

// run does a job and tells the loop.
func (j *job) run(scratch []byte) {
	h, n := j.p.h, int64(len(j.data))
	if res := j.do(scratch); res.tells() {
		right := res.OK
		res = h.commit(res, scratch) // here, not in the loop: readers see it at once
		res.of = j.p
		if right && !res.OK && !res.Contradiction {
			res.Err = errStale // nobody who sent it is to blame
		}
		select {
		case h.results <- res:
		case <-h.done:
		}
	}
	h.backlog.Add(-n)
	h.jobs.Done()
}

func newResult(i metainfo.Piece) (r Result) {
	r.Piece = i
	return r
}
