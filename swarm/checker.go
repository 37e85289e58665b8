package swarm

import (
	"errors"

	"torrentfs/metainfo"
	"torrentfs/swarm/pieces"
)

// checkers is how many goroutines of a torrent hash what was found on disk, at
// least. Where the torrent begins with many pieces in doubt there is one for
// each core, up to maxCheckers: more would only make a disk seek.
const (
	checkers    = 2
	maxCheckers = 8
	manyDoubts  = 64 // pieces
)

// hashersFor is how many checkers a torrent is given that begins with so many pieces in doubt.
func hashersFor(doubts, cores int) int {
	if doubts < manyDoubts {
		return checkers
	}
	return min(max(cores, checkers), maxCheckers)
}

// checkQueue is the checkers' channel while there is something to check, else nil.
func (t *Torrent) checkQueue() chan<- pieces.Check {
	if _, any := t.ledger.NextCheck(); !any {
		return nil
	}
	return t.checks
}

// nextCheck is the checkers' next piece, which the select in run then has them take.
func (t *Torrent) nextCheck() pieces.Check {
	c, _ := t.ledger.NextCheck()
	return c
}

// checkPieces hashes pieces from disk until the torrent ends.
func (t *Torrent) checkPieces() {
	var scratch []byte
	for {
		select {
		case j := <-t.checks:
			if scratch == nil {
				scratch = make([]byte, blockSize)
			}
			r := t.commit(t.checkFilled(j, scratch), scratch)
			select {
			case t.checked <- r:
			case <-t.done:
				return
			}
		case <-t.done:
			return
		}
	}
}

// errStale is why a piece is not committed although its hash was right.
var errStale = errors.New("a file was changed by another program while the piece was hashed")

// maxStale is how often in a row a piece is hashed anew for that.
const maxStale = 3

// commit publishes a piece whose hash was right. If what was hashed may not be
// what is there, it is read and hashed anew.
func (t *Torrent) commit(r hashResult, scratch []byte) hashResult {
	for n := 0; r.ok && !t.store.Commit(r.piece); n++ {
		again := hashResult{piece: r.piece, done: true, err: errStale}
		if n < maxStale {
			again = t.checkPiece(r.piece, 1, scratch)
		}
		again.good, again.proof, again.prover, again.valid = r.good, r.proof, r.prover, r.valid
		r = again
	}
	return r
}

// checkFilled hashes a piece after it was copied from the duplicate that it is to come from, if any.
func (t *Torrent) checkFilled(c pieces.Check, scratch []byte) hashResult {
	if c.Duplicate != nil {
		if err := c.Duplicate.Fill(c.Piece); err != nil {
			return hashResult{piece: c.Piece, done: true, err: err, notCopied: true}
		}
	}
	return t.checkPiece(c.Piece, c.Tries, scratch)
}

// checkPiece hashes a piece that lies on disk. One whose hash is not known yet
// is wrong for now: what of it was right is fetched again. A block that the disk
// does not give is asked for again at once, as often as tries says.
func (t *Torrent) checkPiece(piece, tries int, scratch []byte) hashResult {
	p := newPieceHash(t, piece)
	var res hashResult
	for b := range p.n {
		if p.got.Has(b) {
			continue
		}
		data, err := t.store.Unverified(metainfo.Block{Piece: piece, Index: b}, scratch)
		for n := 1; pieces.Unreadable(err) && n < tries && t.ctx.Err() == nil; n++ {
			data, err = t.store.Unverified(metainfo.Block{Piece: piece, Index: b}, scratch)
		}
		if err != nil {
			return hashResult{piece: piece, done: true, err: err}
		}
		if res = p.check(b, data); res.done {
			return res
		}
	}
	if res = p.judge(hashResult{piece: piece}, scratch); !res.done {
		res = hashResult{piece: piece, done: true}
	}
	return res
}

// check takes a block from disk in its turn.
func (p *pieceHash) check(block int, data []byte) hashResult {
	if v := p.v2; v != nil && block < len(v.leaves) {
		leaf, ok := p.leafOf(block, data)
		if !ok {
			return hashResult{piece: p.piece, done: true}
		}
		v.leaves[block] = leaf
		v.hashed.Set(block)
	}
	p.arrived(block)
	if p.v1 != nil && p.next == block {
		p.v1.Write(data)
		p.next++
	}
	return hashResult{piece: p.piece}
}
