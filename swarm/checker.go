package swarm

import (
	"errors"

	"torrentfs/internal/bitset"
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

// doubts is the set of pieces whose bytes on disk nobody vouches for. The loop
// owns it; the checkers take pieces out, those that a read waits for first.
type doubts struct {
	pieces  bitset.Set // not yet judged
	taking  bitset.Set // at a checker
	urgent  []int
	cursor  int
	n       int
	readers []*demand // reads that wait for a judgement
}

// checkJob is a piece for a checker: on disk, or to be put there from a twin.
type checkJob struct {
	piece int
	tries int // of each block
	twin  *twin
}

func newDoubts(words []uint64, pieces int) doubts {
	d := doubts{pieces: bitset.New(pieces), taking: bitset.New(pieces)}
	copy(d.pieces, words)
	d.n = d.pieces.Count()
	return d
}

func (d *doubts) has(piece int) bool { return d.pieces.Has(piece) }

// add puts a piece in doubt that was not.
func (d *doubts) add(piece int) {
	if d.pieces.Set(piece) {
		d.n++
		d.cursor = min(d.cursor, piece)
	}
}

func (d *doubts) remove(piece int) {
	if d.pieces.Clear(piece) {
		d.n--
	}
	d.taking.Clear(piece)
}

// hurry puts the pieces in doubt from first to last before the others and says whether there are any.
func (d *doubts) hurry(first, last int) (any bool) {
	if d.n == 0 {
		return false
	}
	for i := first; i <= last; i++ {
		if d.pieces.Has(i) {
			any = true
			if !d.taking.Has(i) {
				d.urgent = append(d.urgent, i)
			}
		}
	}
	return any
}

// first is the piece to check next, or -1.
func (d *doubts) first() int {
	for len(d.urgent) > 0 {
		if i := d.urgent[0]; d.pieces.Has(i) && !d.taking.Has(i) {
			return i
		}
		d.urgent = d.urgent[1:]
	}
	for i := d.cursor; ; i++ {
		if i = d.pieces.Next(i); i < 0 {
			return -1
		}
		if !d.taking.Has(i) {
			d.cursor = i
			return i
		}
	}
}

// taken notes that a checker has the first piece.
func (d *doubts) taken() { d.taking.Set(d.first()) }

// checkQueue is the checkers' channel while there is something to check, else nil.
func (t *Torrent) checkQueue() chan<- checkJob {
	if t.doubt.n == 0 || t.doubt.first() < 0 {
		return nil
	}
	return t.checks
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
		again.good, again.proof, again.valid = r.good, r.proof, r.valid
		r = again
	}
	return r
}

// checkFilled hashes a piece after it was copied from the twin that it is to come from, if any.
func (t *Torrent) checkFilled(j checkJob, scratch []byte) hashResult {
	if j.twin != nil {
		if err := j.twin.Fill(j.piece); err != nil {
			return hashResult{piece: j.piece, done: true, err: err, twin: true}
		}
	}
	return t.checkPiece(j.piece, j.tries, scratch)
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
		data, err := t.store.Unverified(piece, b, scratch)
		for n := 1; unreadable(err) && n < tries && t.ctx.Err() == nil; n++ {
			data, err = t.store.Unverified(piece, b, scratch)
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

// handleChecked takes a checker's verdict; reads that waited for it go on.
func (t *Torrent) handleChecked(r hashResult) {
	t.doubt.remove(r.piece)
	t.twinChecked(r)
	if !unreadable(r.err) || r.twin {
		t.unreadVerdict(r.piece)
	}
	switch {
	case r.clash:
		t.fail(clashError(r.piece))
	case r.ok:
		t.hold(r.piece)
		t.picker.Verified(t.now(), r.piece, true) // of a piece in parts it does not count as held
	default:
		if now := t.now(); r.err != nil && !r.twin && (t.diskWarned == 0 || now-t.diskWarned >= diskWarning) {
			t.diskWarned = now
			t.log.Warn("check data on disk: "+r.err.Error(), "piece", r.piece)
		}
		if unreadable(r.err) && !r.twin {
			t.unread.fault(t.now(), r.piece, t.rand.Float64())
			t.setAside(r.piece)
		} else {
			t.store.Discard(r.piece)
			t.refetch(r.piece)
		}
	}
	readers := t.doubt.readers
	t.doubt.readers = nil
	for _, d := range readers {
		t.admitDemand(d) // waits on, if another of its pieces is in doubt
	}
	t.noteProgress()
}
