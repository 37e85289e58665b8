package picker

import (
	"math/rand/v2"
	"slices"

	"torrentfs/metainfo"
)

const (
	refusals      = 16   // rejects in a row, while not choked, that make a peer a suspect
	restFirst     = 0.25 // s for which a peer is not asked for a piece of which it rejected a block
	restMost      = 30.0 // s: each further reject of the piece doubles the pause up to this
	restingPieces = 32   // pieces of one peer that are remembered so; who rejects more soon is a suspect
)

// rest is a piece of which a peer rejected a block: it said that it has the piece, and does not give it, as one does whose disk
// fails. Asked again at once it would reject again, as often as the round trip lets it.
type rest struct {
	piece metainfo.Piece
	on    bool    // the peer is not asked
	until float64 // while on
	pause float64 // s, the last
}

// resting reports whether a peer is not to be asked for a piece yet.
func (pr *peer) resting(piece metainfo.Piece) bool {
	for i := range pr.rests {
		if r := &pr.rests[i]; r.piece == piece {
			return r.on
		}
	}
	return false
}

// refusal counts a request that a peer did not want, so that it is not asked again at once, for ever.
func (p *Picker) refusal(pr *peer, piece metainfo.Piece) {
	if pr.choked {
		p.recovered(pr)
		if i := slices.Index(pr.allowed, piece); i >= 0 {
			pr.allowed = slices.Delete(pr.allowed, i, i+1)
		}
		return
	}
	p.peers.rest(pr, piece, p.now, p.rng)
	if pr.refused++; pr.refused >= refusals {
		if pr.refused == refusals {
			pr.probeWait = restFirst // it does talk to us: soon it may give what it rejected
		}
		p.peers.setSuspect(pr, true)
		pr.backOff(p.now)
	} else if pr.suspect { // of silence: it is not
		p.peers.setSuspect(pr, false)
		pr.probeAt, pr.probeWait = 0, suspectBackoff
	}
}

// rest begins the pause of a piece at a peer; rejects of several blocks that were asked for together count as one.
func (all *peers) rest(pr *peer, piece metainfo.Piece, now float64, rng *rand.Rand) {
	i := 0
	for i < len(pr.rests) && pr.rests[i].piece != piece {
		i++
	}
	switch {
	case i < len(pr.rests) && pr.rests[i].on:
		return
	case i == len(pr.rests) && i < restingPieces:
		pr.rests = append(pr.rests, rest{piece: piece})
	case i == len(pr.rests):
		i = rng.IntN(restingPieces)
		if pr.rests[i].on {
			all.resting--
		}
		pr.rests[i] = rest{piece: piece}
	}
	r := &pr.rests[i]
	r.pause = min(max(2*r.pause, restFirst), restMost)
	r.on, r.until = true, now+r.pause*(0.75+0.5*rng.Float64())
	all.resting++
}

// served forgets that a peer rejected blocks of a piece.
func (all *peers) served(pr *peer, piece metainfo.Piece) {
	for i := range pr.rests {
		if pr.rests[i].piece == piece {
			if pr.rests[i].on {
				all.resting--
			}
			pr.rests = append(pr.rests[:i], pr.rests[i+1:]...)
			pr.noneAny = false
			return
		}
	}
}

// endRests lets peers be asked again for pieces whose pause is over.
func (p *Picker) endRests() {
	if p.peers.resting == 0 {
		return
	}
	for _, pr := range p.peers.list {
		for i := range pr.rests {
			if r := &pr.rests[i]; r.on && r.until <= p.now {
				r.on = false
				p.peers.resting--
				pr.noneAny = false
				p.touch(pr)
				p.plan.stale = true
			}
		}
	}
}

// restsEnd is when the next pause ends of a piece that lacks, if not before earliest; at if that is sooner.
func (all *peers) restsEnd(at, earliest float64, ps *pieces) float64 {
	if all.resting == 0 {
		return at
	}
	for _, pr := range all.list {
		for i := range pr.rests {
			if r := &pr.rests[i]; r.on && !ps.held(r.piece) {
				at = min(at, max(r.until, earliest))
			}
		}
	}
	return at
}
