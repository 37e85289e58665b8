package hashing

import (
	"sync"
	"sync/atomic"

	"torrentfs/metainfo"
	"torrentfs/picker"
	"torrentfs/swarm/hashes"
	"torrentfs/swarm/pieces"
)

const blockSize = metainfo.BlockSize

// Store is where blocks lie. Its methods may be called from any goroutine.
type Store interface {
	// Unverified returns a block as it was put, or as it is on disk; scratch may be used to hold it.
	Unverified(b metainfo.Block, scratch []byte) ([]byte, error)
	// Commit publishes a piece whose hash was right. It is false if what was hashed may not be what is there now: then
	// all of the piece is to be read and hashed anew.
	Commit(piece metainfo.Piece) bool
	// CommitBlock publishes a block whose own hash was right, before its piece is complete. It is false as Commit is.
	CommitBlock(b metainfo.Block) bool
	// DiscardBlock drops a block whose own hash was wrong.
	DiscardBlock(b metainfo.Block)
	// HasBlock reports whether a block is committed, by itself or with its piece.
	HasBlock(b metainfo.Block) bool
}

// Result is what a hash worker or a checker found out.
type Result struct {
	pieces.Verdict      // if Done is set, else its Piece alone
	Done           bool // the piece as a whole was judged
	Waits          bool // it is complete, and what its hash must be is not known yet

	Good, Bad []int // blocks that were judged by themselves (v2)

	Proof  *hashes.Proof // that was checked; nil: none
	Prover picker.PeerID // whose it is
	Valid  bool          // it holds

	of *piece // nil: a checker's
}

// tells reports whether the loop has to hear of a result.
func (r *Result) tells() bool {
	return r.Done || r.Waits || r.Proof != nil || len(r.Good)+len(r.Bad) > 0
}

// Hasher is the hashing of one torrent.
type Hasher struct {
	// Immutable.
	pool    *Pool
	info    *metainfo.Info
	virtual []metainfo.BlockRange
	trees   *hashes.Trees // nil: v1 alone
	store   Store
	done    <-chan struct{}

	results chan Result
	checks  chan pieces.Check
	checked chan Result // a checker waits until its verdict is known before it takes a piece

	backlog  atomic.Int64 // bytes that wait for a worker
	jobs     sync.WaitGroup
	checkers sync.WaitGroup

	underWay map[metainfo.Piece]*piece // the loop's
}

// New returns the hashing of a torrent, without checkers. Trees is nil for a torrent that is v1 alone. When done is
// closed nobody takes results any more.
func New(pool *Pool, info *metainfo.Info, trees *hashes.Trees, store Store, done <-chan struct{}) *Hasher {
	return &Hasher{
		pool: pool, info: info, virtual: info.VirtualBlocks(), trees: trees, store: store, done: done,
		results: make(chan Result, 16), checks: make(chan pieces.Check), checked: make(chan Result),
		underWay: map[metainfo.Piece]*piece{},
	}
}

// Results is where hash workers tell what they found.
func (h *Hasher) Results() <-chan Result { return h.results }

// Backlog is how many bytes wait for a hash worker. Any goroutine may call it.
func (h *Hasher) Backlog() int64 { return h.backlog.Load() }

// Add hands over a block that came and that the store was given. It shares data with the store.
func (h *Hasher) Add(b metainfo.Block, data []byte) {
	h.backlog.Add(int64(len(data)))
	h.submit(job{p: h.piece(b.Piece), block: b.Index, data: data})
}

// Prove has a peer's proof of a piece's leaves checked.
func (h *Hasher) Prove(piece metainfo.Piece, p *hashes.Proof, prover picker.PeerID) {
	h.submit(job{p: h.piece(piece), proof: p, prover: prover})
}

// Judge has a piece under way judged whose hash was not known when its last block came.
func (h *Hasher) Judge(piece metainfo.Piece) { h.submit(job{p: h.piece(piece)}) }

// Begin makes sure that a piece is under way. It must come before the first of its blocks is put into the store.
func (h *Hasher) Begin(piece metainfo.Piece) { h.piece(piece) }

// Forget ends the hashing of a piece: later blocks of it begin anew.
func (h *Hasher) Forget(piece metainfo.Piece) { delete(h.underWay, piece) }

// Current reports whether a result is about what is under way now, and not about blocks that were forgotten since.
func (h *Hasher) Current(r *Result) bool { return r.of == h.underWay[r.Piece] }

// UnderWay is how many pieces are under way.
func (h *Hasher) UnderWay() int { return len(h.underWay) }

// Wait waits for the checkers, and for the jobs that were handed over. The done channel is closed before.
func (h *Hasher) Wait() {
	h.checkers.Wait()
	h.jobs.Wait()
}

// piece returns the state of a piece under way, which begins if it was not.
func (h *Hasher) piece(i metainfo.Piece) *piece {
	p := h.underWay[i]
	if p == nil {
		p = newPiece(h, i)
		h.underWay[i] = p
	}
	return p
}

func (h *Hasher) submit(j job) {
	h.jobs.Add(1)
	h.pool.submit(j)
}

// virtualIn is the part of the virtual blocks that lies in a piece.
func (h *Hasher) virtualIn(piece metainfo.Piece) []metainfo.BlockRange {
	lo, hi := 0, len(h.virtual)
	for lo < hi {
		if m := (lo + hi) / 2; h.virtual[m].Piece < piece {
			lo = m + 1
		} else {
			hi = m
		}
	}
	for hi = lo; hi < len(h.virtual) && h.virtual[hi].Piece == piece; hi++ {
	}
	return h.virtual[lo:hi]
}
