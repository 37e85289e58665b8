package swarm

import (
	"math"
	"time"

	"torrentfs/metainfo"
)

// Reach is who could deliver a missing piece, as far as this moment shows.
type Reach struct {
	Piece    int  // the missing piece of the range that fewest peers have; -1 where none is missing
	Checking bool // the range touches bytes on disk that are to be hashed first
	Peers    int  // connected, web seeds included
	Holders  int  // of them, those that have the piece
	Unchoked int  // of these, those that let us download
	// Prospects are peers that may turn out to have the piece: those being dialled, those whose address was not tried
	// yet or is due again, and connections too young to have told what they have.
	Prospects int
}

// introduction is for how long a new connection may take to say which pieces it has.
const introduction = 5 * time.Second

// Reach looks who could deliver n bytes at off, an offset in the piece space.
// After Close nobody could.
func (t *Torrent) Reach(off int64, n int) Reach {
	r := Reach{Piece: -1}
	if n > 0 && off >= 0 && off < t.info.Size() {
		end := min(off+int64(n), t.info.Size())
		first, last := t.info.PieceOf(off), t.info.PieceOf(end-1)
		t.call(func() { r = t.reach(first, last) })
	}
	return r
}

func (t *Torrent) reach(first, last int) Reach {
	r := Reach{Piece: -1, Peers: t.pool.Live() + t.web.live(), Prospects: t.pool.Dialing() + t.pool.Prospects(t.now())}
	for p := first; p <= last; p++ {
		if t.pieces.Has(p) {
			continue
		}
		r.Checking = r.Checking || t.pieces.InDoubt(p)
		holders, unchoked := t.holders(p)
		if r.Piece < 0 || holders < r.Holders {
			r.Piece, r.Holders, r.Unchoked = p, holders, unchoked
		}
	}
	for _, c := range t.peers {
		if c != nil && !c.heardBits && c.remoteCount == 0 && time.Since(c.since) < introduction {
			r.Prospects++
		}
	}
	return r
}

// holders counts the connected peers that have a piece, and those of them that let us download.
func (t *Torrent) holders(piece metainfo.Piece) (holders, unchoked int) {
	for _, c := range t.peers {
		if c == nil || !c.remote.Has(piece) {
			continue
		}
		holders++
		if !c.peerChoking {
			unchoked++
		}
	}
	for _, w := range t.web.list {
		if !w.live || !w.remote.Has(piece) {
			continue
		}
		holders++
		if !w.choked {
			unchoked++
		}
	}
	return holders, unchoked
}

// Availability is how many copies of the pieces [first, last] the connected
// peers and we hold together: the whole part is the copies of the rarest
// piece, the fraction is the share of pieces with more copies than that.
func (t *Torrent) Availability(first, last int) float64 {
	a := 0.0
	t.call(func() { a = t.availability(first, last) })
	return a
}

func (t *Torrent) availability(first, last int) float64 {
	first, last = max(first, 0), min(last, t.info.NumPieces()-1)
	if first > last {
		return 0
	}
	least, more := math.MaxInt, 0
	seeds := 0
	for _, c := range t.peers {
		if c != nil && c.isSeed() {
			seeds++
		}
	}
	for p := first; p <= last; p++ {
		n := seeds
		if t.pieces.Has(p) {
			n++
		}
		for _, c := range t.peers {
			if c != nil && !c.isSeed() && c.remote.Has(p) {
				n++
			}
		}
		for _, w := range t.web.list {
			if w.live && w.remote.Has(p) {
				n++
			}
		}
		switch {
		case n < least:
			more, least = p-first, n // all before have more
		case n > least:
			more++
		}
	}
	return float64(least) + float64(more)/float64(last-first+1)
}
