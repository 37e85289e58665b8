package hashing

import (
	"errors"

	"torrentfs/metainfo"
	"torrentfs/swarm/pieces"
)

// MinCheckers is how many goroutines of a torrent hash what was found on disk, at least. If the torrent begins with
// many pieces in doubt there is one for each core, up to maxCheckers: more would only make a disk seek.
const (
	MinCheckers  = 2
	maxCheckers  = 8
	manyDoubtful = 64 // pieces
)

// checkersFor is how many checkers a torrent is given that begins with so many pieces in doubt.
func checkersFor(doubtful, cores int) int {
	if doubtful < manyDoubtful {
		return MinCheckers
	}
	return min(max(cores, MinCheckers), maxCheckers)
}

// errStale is why a piece is not committed although its hash was right.
var errStale = errors.New("a file was changed by another program while the piece was hashed")

// maxStale is how often in a row a piece is hashed anew for that.
const maxStale = 3

// StartCheckers starts the checkers of a torrent that begins with so many pieces in doubt. It is called once.
func (h *Hasher) StartCheckers(doubtful, cores int) {
	for range checkersFor(doubtful, cores) {
		h.checkers.Go(h.check)
	}
}

// Checks is where checkers take a piece, when they have nothing to do.
func (h *Hasher) Checks() chan<- pieces.Check { return h.checks }

// Checked is where checkers tell what they found.
func (h *Hasher) Checked() <-chan Result { return h.checked }

// check hashes pieces from disk until the torrent ends.
func (h *Hasher) check() {
	var scratch []byte
	for {
		select {
		case c := <-h.checks:
			if scratch == nil {
				scratch = make([]byte, blockSize)
			}
			r := h.commit(h.checkFilled(c, scratch), scratch)
			select {
			case h.checked <- r:
			case <-h.done:
				return
			}
		case <-h.done:
			return
		}
	}
}

// commit publishes a piece whose hash was right. If what was hashed may not be what is there, it is read and hashed
// anew.
func (h *Hasher) commit(r Result, scratch []byte) Result {
	for n := 0; r.OK && !h.store.Commit(r.Piece); n++ {
		again := doneWith(r.Piece, errStale)
		if n < maxStale {
			again = h.checkPiece(r.Piece, 1, scratch)
		}
		again.Good, again.Proof, again.Prover, again.Valid = r.Good, r.Proof, r.Prover, r.Valid
		r = again
	}
	return r
}

// checkFilled hashes a piece after it was copied from the duplicate that it is to come from, if any.
func (h *Hasher) checkFilled(c pieces.Check, scratch []byte) Result {
	if c.Duplicate != nil {
		if err := c.Duplicate.Fill(c.Piece); err != nil {
			r := doneWith(c.Piece, err)
			r.NotCopied = true
			return r
		}
	}
	return h.checkPiece(c.Piece, c.Tries, scratch)
}

// checkPiece hashes a piece that lies on disk. One whose hash is not known yet is wrong for now: what of it was right
// is fetched again. A block that the disk does not give is asked for again at once, as often as tries says.
func (h *Hasher) checkPiece(i metainfo.Piece, tries int, scratch []byte) Result {
	p := newPiece(h, i)
	for b := range p.n {
		if p.got.Has(b) {
			continue
		}
		data, err := h.store.Unverified(metainfo.Block{Piece: i, Index: b}, scratch)
		for n := 1; pieces.Unreadable(err) && n < tries && !h.ended(); n++ {
			data, err = h.store.Unverified(metainfo.Block{Piece: i, Index: b}, scratch)
		}
		if err != nil {
			return doneWith(i, err)
		}
		if !p.read(b, data) {
			return doneWith(i, nil)
		}
	}
	res := p.judge(newResult(i), scratch)
	if !res.Done {
		return doneWith(i, nil)
	}
	return res
}

// ended reports whether nobody takes results any more.
func (h *Hasher) ended() bool {
	select {
	case <-h.done:
		return true
	default:
		return false
	}
}

// doneWith is the verdict on a piece that is not right, or could not be read.
func doneWith(i metainfo.Piece, err error) Result {
	return Result{Verdict: pieces.Verdict{Piece: i, Err: err}, Done: true}
}

// read takes a block from disk in its turn. It is false if the block is wrong.
func (p *piece) read(block int, data []byte) bool {
	if v := p.v2; v != nil && block < len(v.leaves) {
		leaf, ok := p.leafOf(block, data)
		if !ok {
			return false
		}
		v.leaves[block] = leaf
		v.hashed.Set(block)
	}
	p.arrived(block)
	if p.v1 != nil && p.next == block {
		p.v1.Write(data)
		p.next++
	}
	return true
}
