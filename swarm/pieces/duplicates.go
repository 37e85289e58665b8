package pieces

import (
	"cmp"
	"slices"
	"sort"

	"torrentfs/internal/bitset"
	"torrentfs/metainfo"
)

// MaxWrong is how many pieces of a duplicate may be wrong, or fail to be copied, before nothing more is taken of it.
const MaxWrong = 4

// Duplicate is a file on this machine that is said to have the content of one of the torrent's files. Nothing is
// trusted: each piece is hashed after it was copied, by the checkers, and those that a read waits for come first. What
// is wrong comes from peers.
type Duplicate struct {
	First  metainfo.Piece
	Pieces int    // from First on, which hold the file and nothing else
	Path   string // for the log
	// Fill puts a piece where the store has it. Any goroutine may call it.
	Fill func(piece metainfo.Piece) error
}

// duplicate is a Duplicate as the ledger knows it.
type duplicate struct {
	Duplicate
	wrong int   // pieces
	bytes int64 // taken
	out   int   // pieces claimed, and not judged
	told  bool  // in the log
}

// end is the piece behind the last.
func (d *duplicate) end() metainfo.Piece { return d.First + metainfo.Piece(d.Pieces) }

// duplicates are the files on this machine that pieces may be taken from.
type duplicates struct {
	list    []*duplicate // by first piece
	claimed bitset.Set   // pieces that are in doubt for the sake of a duplicate
	tried   bitset.Set   // pieces that were claimed once
	pending bool         // some wait for their hash to be known
	bytes   int64        // taken
}

// at is the duplicate of a piece, nil if it has none.
func (d *duplicates) at(piece metainfo.Piece) *duplicate {
	i := sort.Search(len(d.list), func(i int) bool { return d.list[i].end() > piece })
	if i == len(d.list) || d.list[i].First > piece {
		return nil
	}
	return d.list[i]
}

// has reports whether a piece is to come from a duplicate.
func (d *duplicates) has(piece metainfo.Piece) bool {
	return len(d.list) > 0 && d.claimed.Has(piece)
}

// Offer tells of duplicates whose pieces need not be downloaded. Those that the background download wants are taken
// with the next [Ledger.ClaimWanted], the others when a read claims them. It is called once.
func (l *Ledger) Offer(offered []Duplicate) {
	d := &l.duplicates
	d.claimed, d.tried = bitset.New(l.cfg.Pieces), bitset.New(l.cfg.Pieces)
	for _, x := range offered {
		d.list = append(d.list, &duplicate{Duplicate: x})
	}
	slices.SortStableFunc(d.list, func(a, b *duplicate) int { return cmp.Compare(a.First, b.First) })
	d.pending = true
}

// ClaimWanted claims what the background download wants of the duplicates.
func (l *Ledger) ClaimWanted() []Action {
	if !l.duplicates.pending || l.cfg.Wanted == nil {
		return nil
	}
	l.duplicates.pending = false
	for _, d := range l.duplicates.list {
		for p := d.First; p < d.end(); p++ {
			if l.cfg.Wanted(p) {
				l.claim(d, p)
			}
		}
	}
	return l.drain()
}

// Claim claims the pieces of a read, from first to last.
func (l *Ledger) Claim(first, last metainfo.Piece) []Action {
	if len(l.duplicates.list) == 0 {
		return nil
	}
	for p := first; p <= last; p++ {
		if d := l.duplicates.at(p); d != nil {
			l.claim(d, p)
		}
	}
	return l.drain()
}

// claim has a piece taken from its duplicate, unless it is here or on its way. One whose hash is not known yet waits
// for that. A claimed piece is in doubt, as one is that was found on disk.
func (l *Ledger) claim(d *duplicate, piece metainfo.Piece) {
	if d.wrong >= MaxWrong || l.Has(piece) || l.InDoubt(piece) || l.duplicates.tried.Has(piece) || l.UnderWay(piece) || l.cfg.Stored(piece) {
		return
	}
	if !l.cfg.Known(piece) {
		l.duplicates.pending = true
		return
	}
	l.duplicates.tried.Set(piece)
	l.duplicates.claimed.Set(piece)
	d.out++
	l.rechecks.add(piece)
	l.act(Held, piece)
}

// duplicateChecked follows the verdict on a piece that was to come from a duplicate.
func (l *Ledger) duplicateChecked(v Verdict) {
	if !l.duplicates.has(v.Piece) {
		return
	}
	l.duplicates.claimed.Clear(v.Piece)
	d := l.duplicates.at(v.Piece)
	d.out--
	if v.OK {
		n := l.cfg.Bytes(v.Piece)
		d.bytes += n
		l.duplicates.bytes += n
	} else if d.wrong++; d.wrong == MaxWrong {
		l.out = append(l.out, Action{Kind: DuplicateWrong, Piece: v.Piece, Duplicate: &d.Duplicate, Err: v.Err})
		l.release(d)
	}
	if d.out == 0 && d.bytes > 0 && !d.told {
		d.told = true
		l.out = append(l.out, Action{Kind: DuplicateDone, Duplicate: &d.Duplicate, Bytes: d.bytes, Wrong: d.wrong})
	}
}

// release gives the pieces back that no checker has begun with.
func (l *Ledger) release(d *duplicate) {
	for p := d.First; p < d.end(); p++ {
		if l.duplicates.claimed.Has(p) && !l.rechecks.taken.Has(p) {
			l.duplicates.claimed.Clear(p)
			d.out--
			l.rechecks.remove(p)
			l.act(Lost, p)
		}
	}
}

// Taken is how many bytes came from duplicates.
func (l *Ledger) Taken() int64 { return l.duplicates.bytes }
