package picker

import (
	"math"

	"torrentfs/metainfo"
)

const (
	urgentSlop     = 0.002 // s by which a block may come after T*
	maxUrgentUnits = 128   // pieces of blocked reads that one plan looks at
	planCost       = 10e-6 // s between two plans, for each peer: a plan costs that share of a core at most
)

// unit is the part of a piece that blocked reads wait for.
type unit struct {
	piece     metainfo.Piece
	from, end int
	free      int // blocks neither held nor requested
}

// candidate is a peer as a plan sees it; base moves with what the plan gives to it.
type candidate struct {
	pr       *peer
	base, bt float64
	room     int
}

// planUrgent binds free blocks of blocked reads to peers. T* is when the last of them would be complete if every holder took its
// share; a block goes to the peer that finishes it first, unless that would be after T*: then it stays unbound, since the faster
// peers will have room before.
func (p *Picker) planUrgent() {
	p.planAt = p.now
	for _, pr := range p.peers {
		pr.kept = false
	}
	p.unissued = 0
	p.collectUnits()
	if p.unissued == 0 {
		return
	}
	p.collectCandidates()
	rem := 0
	for i := range p.units {
		u := &p.units[i]
		if u.free == 0 {
			continue
		}
		rem += u.free
		p.issueUnit(u, rem)
		rem -= p.issued
		p.unissued -= p.issued
	}
}

// collectUnits lists what blocked reads wait for: earliest first, then in turn by reader.
func (p *Picker) collectUnits() {
	p.units = p.units[:0]
	p.planSeq++
	for _, rd := range p.readers {
		rd.turns = 0
	}
	for _, r := range p.reads {
		r.turn = r.reader.turns
		r.reader.turns++
	}
	for turn, more := 0, true; more && len(p.units) < maxUrgentUnits; turn++ {
		more = false
		for _, r := range p.reads {
			if r.turn != turn {
				more = more || r.turn > turn
				continue
			}
			for piece := r.piece; piece <= r.last && len(p.units) < maxUrgentUnits; piece++ {
				p.addUnit(r, piece)
			}
		}
	}
}

func (p *Picker) addUnit(r *read, piece metainfo.Piece) {
	if s := p.state[piece]; s == stateHeld || s == stateVirtual {
		return
	}
	pt := p.part(piece)
	if pt == nil {
		from, end := p.readBlocks(r, piece, p.g.NumBlocks(piece))
		from = p.pastUnits(piece, from)
		free := end - from
		for _, v := range p.virtualOf(piece) {
			free -= max(0, min(v.First+v.Count, end)-max(v.First, from))
		}
		if free > 0 {
			p.units = append(p.units, unit{piece, from, end, free})
			p.unissued += free
		}
		return
	}
	if !p.byLeaves(piece) {
		if pt.mark == p.planSeq {
			return
		}
		pt.mark = p.planSeq
	}
	from, end := p.readBlocks(r, piece, int(pt.blocks))
	if p.byLeaves(piece) {
		from = p.pastUnits(piece, from)
	}
	if free := pt.countFree(from, end); free > 0 {
		p.units = append(p.units, unit{piece, from, end, free})
		p.unissued += free
	}
}

// pastUnits moves a block past the units that cover it: reads may overlap, and each free block is to be planned once.
func (p *Picker) pastUnits(piece metainfo.Piece, from int) int {
	for i := range p.units {
		if u := &p.units[i]; u.piece == piece && u.from <= from && from < u.end {
			from = u.end
		}
	}
	return from
}

func (p *Picker) collectCandidates() {
	p.cands = p.cands[:0]
	first := firstDepth
	if n := len(p.peers); p.unissued >= n*firstUrgentDepth {
		first = firstUrgentDepth
	}
	for _, pr := range p.peers {
		if pr.mute() {
			continue
		}
		c := candidate{pr: pr, base: pr.base(p.now), bt: pr.blockTime(), room: pr.room(pr.depth(p.now, slackUrgent, startupGain, first))}
		if pr.suspect && pr.ring.n > 0 {
			c.room = 0
		}
		p.cands = append(p.cands, c)
	}
}

// issueUnit requests blocks of a unit while peers finish them by T*, of which rem blocks are the load.
func (p *Picker) issueUnit(u *unit, rem int) {
	p.issued = 0
	t := p.makespan(u.piece, rem)
	blocks := p.g.NumBlocks(u.piece)
	skip := p.skip[:0]
	for next := u.from; u.free > 0 && p.mayRequest(p.credit.Urgent); {
		best := p.bestCandidate(u.piece, t+urgentSlop, skip)
		if best < 0 {
			break
		}
		c := &p.cands[best]
		b := p.nextFreeAt(c.pr, u, next, blocks)
		if b < 0 {
			skip = append(skip, best)
			continue
		}
		p.request(c.pr, p.g.id(u.piece, b), flagUrgent)
		c.base = c.pr.base(p.now)
		c.room--
		u.free--
		p.issued++
	}
	p.skip = skip
	if u.free == 0 {
		return
	}
	for i := range p.cands {
		if c := &p.cands[i]; c.base+c.bt <= t && c.pr.serves(u.piece) {
			c.pr.kept = true
		}
	}
}

// nextFreeAt is a unit's next free block that the peer does not owe already (after a CANCEL).
func (p *Picker) nextFreeAt(pr *peer, u *unit, from, blocks int) int {
	for b := from; ; b++ {
		b = p.nextFree(u.piece, b)
		if b < 0 || b >= u.end {
			return -1
		}
		if pr.cancelled == 0 || !pr.owes(p.g.id(u.piece, b)) {
			return b
		}
	}
}

// bestCandidate is the peer with room that finishes a block first, by t.
func (p *Picker) bestCandidate(piece metainfo.Piece, t float64, skip []int) int {
	best, finish := -1, t
next:
	for i := range p.cands {
		c := &p.cands[i]
		if f := c.base + c.bt; c.room > 0 && (best < 0 && f <= finish || f < finish) && p.mayAsk(c.pr, piece) {
			for _, s := range skip {
				if s == i {
					continue next
				}
			}
			best, finish = i, f
		}
	}
	return best
}

// mayAsk reports whether a peer serves a piece, and where the piece is for one peer alone, whether that is the one.
func (p *Picker) mayAsk(pr *peer, piece metainfo.Piece) bool {
	if !pr.serves(piece) {
		return false
	}
	if len(p.failed) == 0 {
		return true
	}
	return p.mayRetry(pr, piece)
}

// makespan is T*: the smallest T by which the holders of a piece complete n blocks, each a whole number of them. A fluid bound would
// be earlier than any peer can finish the last block, and nobody would get it.
func (p *Picker) makespan(piece metainfo.Piece, n int) float64 {
	s := p.span[:0]
	lo, hi := math.Inf(1), math.Inf(1)
	for i := range p.cands {
		c := &p.cands[i]
		if c.pr.suspect || !p.mayAsk(c.pr, piece) {
			continue
		}
		s = append(s, fluid{c.base, 1 / c.bt})
		lo = min(lo, c.base+c.bt)
		hi = min(hi, c.base+float64(n)*c.bt)
	}
	p.span = s
	for i := 0; i < 24 && hi-lo > 1e-4; i++ {
		mid := (lo + hi) / 2
		done := 0
		for _, x := range s {
			if mid > x.base {
				done += int((mid-x.base)*x.perSec + 1e-9)
			}
		}
		if done >= n {
			hi = mid
		} else {
			lo = mid
		}
	}
	return hi
}

// fluid is a candidate reduced to what the makespan needs.
type fluid struct{ base, perSec float64 }

// preempt makes way for a newly blocked read: what is requested already becomes urgent, and other requests that cannot be on the
// wire yet are cancelled, where something still has to be requested.
func (p *Picker) preempt() {
	p.unissued = 0
	p.collectUnits()
	for _, pr := range p.peers {
		if pr.ring.n == 0 {
			continue
		}
		for i := range pr.ring.n {
			x := pr.ring.at(i)
			if piece, block := p.g.split(x.block); x.live() && p.awaited(piece, block) {
				x.flags |= flagUrgent
			}
		}
		if p.unissued == 0 || pr.mute() || !p.holdsUnit(pr) {
			continue
		}
		wait := max(pr.rtt, 0.9*pr.lead)
		for i := pr.ring.n - 1; i >= 0; i-- {
			x := pr.ring.at(i)
			if x.flags&flagUrgent != 0 || !x.live() {
				continue
			}
			if piece, _ := p.g.split(x.block); p.reserved(piece) {
				continue // a reader comes to it next: another peer would be asked for it at once
			}
			if pr.arrival(p.now, i)-p.now <= wait {
				break
			}
			p.cancel(pr, i)
		}
	}
}

// holdsUnit reports whether a peer can serve an unissued urgent block.
func (p *Picker) holdsUnit(pr *peer) bool {
	for _, u := range p.units {
		if u.free > 0 && pr.serves(u.piece) {
			return true
		}
	}
	return false
}
