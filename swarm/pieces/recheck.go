package pieces

import (
	"time"

	"torrentfs/internal/bitset"
	"torrentfs/metainfo"
)

// rechecks is the set of pieces whose bytes on disk nobody vouches for. Checkers take pieces out, those that a read
// waits for first.
type rechecks struct {
	pieces bitset.Set // not yet judged
	taken  bitset.Set // of them, those at a checker
	urgent []metainfo.Piece
	cursor metainfo.Piece // none before it is to be taken, but for urgent ones
	n      int
}

func newRechecks(words []uint64, pieces int) rechecks {
	r := rechecks{pieces: bitset.New(pieces), taken: bitset.New(pieces)}
	copy(r.pieces, words)
	r.n = r.pieces.Count()
	return r
}

func (r *rechecks) has(piece metainfo.Piece) bool { return r.pieces.Has(piece) }

// add puts a piece in doubt that was not.
func (r *rechecks) add(piece metainfo.Piece) {
	if r.pieces.Set(piece) {
		r.n++
		r.cursor = min(r.cursor, piece)
	}
}

func (r *rechecks) remove(piece metainfo.Piece) {
	if r.pieces.Clear(piece) {
		r.n--
	}
	r.taken.Clear(piece)
}

// hurry puts the pieces in doubt from first to last before the others, and reports whether there are any.
func (r *rechecks) hurry(first, last metainfo.Piece) (any bool) {
	if r.n == 0 {
		return false
	}
	for p := first; p <= last; p++ {
		if r.pieces.Has(p) {
			any = true
			if !r.taken.Has(p) {
				r.urgent = append(r.urgent, p)
			}
		}
	}
	return any
}

// next returns the piece to check next, if there is one.
func (r *rechecks) next() (piece metainfo.Piece, ok bool) {
	if r.n == 0 {
		return 0, false
	}
	for len(r.urgent) > 0 {
		if p := r.urgent[0]; r.pieces.Has(p) && !r.taken.Has(p) {
			return p, true
		}
		r.urgent = r.urgent[1:]
	}
	for p := r.cursor; ; p++ {
		if p = r.pieces.Next(p); p < 0 {
			return 0, false
		}
		if !r.taken.Has(p) {
			r.cursor = p
			return p, true
		}
	}
}

// Check is a piece for a checker.
type Check struct {
	Piece     metainfo.Piece
	Tries     int        // of each block
	Duplicate *Duplicate // from which the piece is to be copied first; nil: it is on disk
}

// NextCheck returns the piece to check next, if there is one. It stays the next one until [Ledger.CheckTaken].
func (l *Ledger) NextCheck() (c Check, ok bool) {
	piece, ok := l.rechecks.next()
	switch {
	case !ok:
		return Check{}, false
	case l.duplicates.has(piece):
		return Check{Piece: piece, Tries: 1, Duplicate: &l.duplicates.at(piece).Duplicate}, true
	}
	return Check{Piece: piece, Tries: l.unchecked.tries(piece)}, true
}

// CheckTaken tells that a checker has the next piece.
func (l *Ledger) CheckTaken() {
	if piece, ok := l.rechecks.next(); ok {
		l.rechecks.taken.Set(piece)
	}
}

// Hurry has the pieces from first to last that are in doubt checked before the others, and reports whether there are
// any: a read of them has to wait.
func (l *Ledger) Hurry(first, last metainfo.Piece) bool { return l.rechecks.hurry(first, last) }

// Checked takes a checker's verdict. Reads that wait for pieces in doubt are to be tried again afterwards.
func (l *Ledger) Checked(now time.Duration, v Verdict) []Action {
	l.rechecks.remove(v.Piece)
	l.duplicateChecked(v)
	if !v.unreadable() {
		l.diskReads(now, v.Piece)
	}
	switch {
	case v.Contradiction:
		l.act(Contradiction, v.Piece)
	case l.cfg.Committed(v.Piece): // by this check, or by a hash worker meanwhile
		l.unchecked.endTrial(now, v.Piece)
		l.hold(v.Piece)
		l.act(Held, v.Piece) // of a piece in parts it does not count as held
	case v.OK: // it was withdrawn since
		l.rechecks.add(v.Piece)
	default:
		l.unhold(v.Piece)
		if v.Err != nil && !v.NotCopied && (l.warned == 0 || now-l.warned >= warnPause) {
			l.warned = now
			l.out = append(l.out, Action{Kind: Warn, Piece: v.Piece, Err: v.Err})
		}
		if v.unreadable() {
			l.unchecked.failed(now, v.Piece, l.cfg.Rand.Float64())
			l.setAside(now, v.Piece)
		} else {
			l.act(Discard, v.Piece)
			l.refetch(v.Piece)
		}
	}
	return l.drain()
}
