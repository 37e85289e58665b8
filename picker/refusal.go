package picker

import (
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
	p.rest(pr, piece)
	if pr.refused++; pr.refused >= refusals {
		if pr.refused == refusals {
			pr.probeWait = restFirst // it does talk to us: soon it may give what it rejected
		}
		p.setSuspect(pr, true)
		p.backOff(pr)
	} else if pr.suspect { // of silence: it is not
		p.setSuspect(pr, false)
		pr.probeAt, pr.probeWait = 0, suspectBackoff
	}
}

// rest begins the pause of a piece at a peer; rejects of several blocks that were asked for together count as one.
func (p *Picker) rest(pr *peer, piece metainfo.Piece) {
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
		i = p.rng.IntN(restingPieces)
		if pr.rests[i].on {
			p.resting--
		}
		pr.rests[i] = rest{piece: piece}
	}
	r := &pr.rests[i]
	r.pause = min(max(2*r.pause, restFirst), restMost)
	r.on, r.until = true, p.now+r.pause*(0.75+0.5*p.rng.Float64())
	p.resting++
}

// served forgets that a peer rejected blocks of a piece.
func (p *Picker) served(pr *peer, piece metainfo.Piece) {
	for i := range pr.rests {
		if pr.rests[i].piece == piece {
			if pr.rests[i].on {
				p.resting--
			}
			pr.rests = append(pr.rests[:i], pr.rests[i+1:]...)
			pr.noneAny = false
			return
		}
	}
}

// endRests lets peers be asked again for pieces whose pause is over.
func (p *Picker) endRests() {
	if p.resting == 0 {
		return
	}
	for _, pr := range p.peers {
		for i := range pr.rests {
			if r := &pr.rests[i]; r.on && r.until <= p.now {
				r.on = false
				p.resting--
				pr.noneAny = false
				p.touch(pr)
				p.urgentDirty = true
			}
		}
	}
}

// restsEnd is when the next pause ends of a piece that lacks; +Inf: none does.
func (p *Picker) restsEnd(at float64) float64 {
	if p.resting == 0 {
		return at
	}
	for _, pr := range p.peers {
		for i := range pr.rests {
			if r := &pr.rests[i]; r.on && !p.held(r.piece) {
				at = min(at, max(r.until, p.slowAt+slowTick))
			}
		}
	}
	return at
}
