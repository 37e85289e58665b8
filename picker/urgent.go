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

// plan is the last one for blocked reads: what they wait for, and who may send it.
type plan struct {
	pieces  *pieces
	peers   *peers
	readers *readers

	stale   bool // something changed since
	blocked bool // a read blocked since
	at      float64
	seq     uint32

	unissued int // blocks that it left unbound
	issued   int // by issueUnit
	units    []unit

	// Scratch.
	cands []candidate
	span  []fluid
	skip  []int
}

// planUrgent binds free blocks of blocked reads to peers. T* is when the last of them would be complete if every holder took its
// share; a block goes to the peer that finishes it first, unless that would be after T*: then it stays unbound, since the faster
// peers will have room before.
func (p *Picker) planUrgent() {
	p.plan.at = p.now
	for _, pr := range p.peers.list {
		pr.kept = false
	}
	p.plan.unissued = 0
	p.plan.collectUnits()
	if p.plan.unissued == 0 {
		return
	}
	p.plan.collectCandidates(p.now)
	rem := 0
	for i := range p.plan.units {
		u := &p.plan.units[i]
		if u.free == 0 {
			continue
		}
		rem += u.free
		p.issueUnit(u, rem)
		rem -= p.plan.issued
		p.plan.unissued -= p.plan.issued
	}
}

// collectUnits lists what blocked reads wait for: earliest first, then in turn by reader.
func (pl *plan) collectUnits() {
	pl.units = pl.units[:0]
	pl.seq++
	for _, rd := range pl.readers.list {
		rd.turns = 0
	}
	for _, r := range pl.readers.blocked {
		r.turn = r.reader.turns
		r.reader.turns++
	}
	for turn, more := 0, true; more && len(pl.units) < maxUrgentUnits; turn++ {
		more = false
		for _, r := range pl.readers.blocked {
			if r.turn != turn {
				more = more || r.turn > turn
				continue
			}
			for piece := r.piece; piece <= r.last && len(pl.units) < maxUrgentUnits; piece++ {
				pl.addUnit(r, piece)
			}
		}
	}
}

func (pl *plan) addUnit(r *read, piece metainfo.Piece) {
	if s := pl.pieces.state[piece]; s == stateHeld || s == stateVirtual {
		return
	}
	pt := pl.pieces.part(piece)
	if pt == nil {
		from, end := r.blocks(pl.pieces, piece, pl.pieces.NumBlocks(piece))
		from = pl.pastUnits(piece, from)
		free := end - from
		for _, v := range pl.pieces.virtualOf(piece) {
			free -= max(0, min(v.First+v.Count, end)-max(v.First, from))
		}
		if free > 0 {
			pl.units = append(pl.units, unit{piece, from, end, free})
			pl.unissued += free
		}
		return
	}
	if !pl.pieces.byLeaves(piece) {
		if pt.mark == pl.seq {
			return
		}
		pt.mark = pl.seq
	}
	from, end := r.blocks(pl.pieces, piece, int(pt.blocks))
	if pl.pieces.byLeaves(piece) {
		from = pl.pastUnits(piece, from)
	}
	if free := pt.countFree(from, end); free > 0 {
		pl.units = append(pl.units, unit{piece, from, end, free})
		pl.unissued += free
	}
}

// pastUnits moves a block past the units that cover it: reads may overlap, and each free block is to be planned once.
func (pl *plan) pastUnits(piece metainfo.Piece, from int) int {
	for i := range pl.units {
		if u := &pl.units[i]; u.piece == piece && u.from <= from && from < u.end {
			from = u.end
		}
	}
	return from
}

func (pl *plan) collectCandidates(now float64) {
	pl.cands = pl.cands[:0]
	first := firstDepth
	if n := len(pl.peers.list); pl.unissued >= n*firstUrgentDepth {
		first = firstUrgentDepth
	}
	for _, pr := range pl.peers.list {
		if pr.mute() {
			continue
		}
		c := candidate{pr: pr, base: pr.base(now), bt: pr.blockTime(), room: pr.room(pr.depth(now, slackUrgent, startupGain, first))}
		if pr.suspect && pr.ring.n > 0 {
			c.room = 0
		}
		pl.cands = append(pl.cands, c)
	}
}

// issueUnit requests blocks of a unit while peers finish them by T*, of which rem blocks are the load.
func (p *Picker) issueUnit(u *unit, rem int) {
	p.plan.issued = 0
	t := p.plan.makespan(u.piece, rem)
	blocks := p.pieces.NumBlocks(u.piece)
	skip := p.plan.skip[:0]
	for next := u.from; u.free > 0 && p.peers.mayRequest(p.credit.Urgent); {
		best := p.plan.bestCandidate(u.piece, t+urgentSlop, skip)
		if best < 0 {
			break
		}
		c := &p.plan.cands[best]
		b := p.plan.nextFreeAt(c.pr, u, next, blocks)
		if b < 0 {
			skip = append(skip, best)
			continue
		}
		p.request(c.pr, p.pieces.id(u.piece, b), flagUrgent)
		c.base = c.pr.base(p.now)
		c.room--
		u.free--
		p.plan.issued++
	}
	p.plan.skip = skip
	if u.free == 0 {
		return
	}
	for i := range p.plan.cands {
		if c := &p.plan.cands[i]; c.base+c.bt <= t && c.pr.serves(u.piece) {
			c.pr.kept = true
		}
	}
}

// nextFreeAt is a unit's next free block that the peer does not owe already (after a CANCEL).
func (pl *plan) nextFreeAt(pr *peer, u *unit, from, blocks int) int {
	for b := from; ; b++ {
		b = pl.pieces.nextFree(u.piece, b)
		if b < 0 || b >= u.end {
			return -1
		}
		if pr.cancelled == 0 || !pr.owes(pl.pieces.id(u.piece, b)) {
			return b
		}
	}
}

// bestCandidate is the peer with room that finishes a block first, by t.
func (pl *plan) bestCandidate(piece metainfo.Piece, t float64, skip []int) int {
	best, finish := -1, t
next:
	for i := range pl.cands {
		c := &pl.cands[i]
		if f := c.base + c.bt; c.room > 0 && (best < 0 && f <= finish || f < finish) && pl.pieces.mayAsk(pl.peers, c.pr, piece) {
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

// makespan is T*: the smallest T by which the holders of a piece complete n blocks, each a whole number of them. A fluid bound would
// be earlier than any peer can finish the last block, and nobody would get it.
func (pl *plan) makespan(piece metainfo.Piece, n int) float64 {
	s := pl.span[:0]
	lo, hi := math.Inf(1), math.Inf(1)
	for i := range pl.cands {
		c := &pl.cands[i]
		if c.pr.suspect || !pl.pieces.mayAsk(pl.peers, c.pr, piece) {
			continue
		}
		s = append(s, fluid{c.base, 1 / c.bt})
		lo = min(lo, c.base+c.bt)
		hi = min(hi, c.base+float64(n)*c.bt)
	}
	pl.span = s
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
	p.plan.unissued = 0
	p.plan.collectUnits()
	for _, pr := range p.peers.list {
		if pr.ring.n == 0 {
			continue
		}
		for i := range pr.ring.n {
			x := pr.ring.at(i)
			if piece, block := p.pieces.split(x.block); x.live() && p.readers.awaited(&p.pieces, piece, block) {
				x.flags |= flagUrgent
			}
		}
		if p.plan.unissued == 0 || pr.mute() || !p.plan.holdsUnit(pr) {
			continue
		}
		wait := max(pr.rtt, 0.9*pr.lead)
		for i := pr.ring.n - 1; i >= 0; i-- {
			x := pr.ring.at(i)
			if x.flags&flagUrgent != 0 || !x.live() {
				continue
			}
			if piece, _ := p.pieces.split(x.block); p.readers.reserved(piece) {
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
func (pl *plan) holdsUnit(pr *peer) bool {
	for _, u := range pl.units {
		if u.free > 0 && pr.serves(u.piece) {
			return true
		}
	}
	return false
}
