package picker

import (
	"slices"

	"torrentfs/metainfo"
)

// retry is what is known of a piece that failed its hash.
type retry struct {
	sources []PeerID // who contributed to the failed tries
}

func (r *retry) blames(id PeerID) bool { return slices.Contains(r.sources, id) }

// noteFailure remembers who contributed to a piece that failed its hash.
func (ps *pieces) noteFailure(pt *partial) {
	r := ps.failed[pt.piece]
	r.sources = append(r.sources, pt.source[:pt.nsource]...)
	if len(r.sources) > 4*maxSources {
		r.sources = r.sources[len(r.sources)-4*maxSources:]
	}
	ps.failed[pt.piece] = r
}

// mayAsk reports whether a peer serves a piece, and where the piece is for one peer alone, whether that is the one.
func (ps *pieces) mayAsk(all *peers, pr *peer, piece metainfo.Piece) bool {
	if !pr.serves(piece) {
		return false
	}
	if len(ps.failed) == 0 {
		return true
	}
	return ps.mayRetry(all, pr, piece)
}

// mayRetry reports whether a peer may be asked for a block of a piece that failed its hash before: only the one that began the new
// try, while it lives; first choice are peers that had no part in the failures.
func (ps *pieces) mayRetry(all *peers, pr *peer, piece metainfo.Piece) bool {
	r, ok := ps.failed[piece]
	if !ok {
		return true
	}
	if pt := ps.part(piece); pt != nil && pt.owner >= 0 {
		owner := all.table.get(pt.owner)
		if owner != nil && !owner.suspect && owner.serves(piece) {
			return owner == pr
		}
		pt.owner = -1
	}
	if !r.blames(pr.id) {
		return true
	}
	for _, q := range all.list {
		if !r.blames(q.id) && !q.suspect && q.serves(piece) {
			return false
		}
	}
	return true
}
