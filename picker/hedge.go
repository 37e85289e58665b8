package picker

import "slices"

const (
	hedgeBusy  = 0.05  // hedged share of the bytes received while a background download runs
	hedgeIdle  = 0.10  // the same while none does
	hedgeBurst = 64.0  // blocks: most hedges saved up
	hedgeDebt  = 128.0 // blocks: debt that rescues from a stall may run up

	hedgeFloor     = 0.03 // s: least gain, and least delay that makes a block overdue
	hedgeDevs      = 4    // deviations over its prediction that make a block overdue
	rescueGain     = 0.4  // s: a hedge that gains more is a rescue from a stall
	thirdGain      = 0.3  // s: least gain of a third copy
	hedgeOverDepth = 2    // requests over the urgent depth that a hedge may take
	maxHedgeScan   = 128  // blocks that one pass looks at, the latest first
)

// late is an outstanding block that may be worth a copy.
type late struct {
	block   blockID
	pr      *peer   // the holder that is expected to deliver first
	at      float64 // when
	overdue bool    // at all holders
}

// hedges is the budget of copies, and the blocks that may need one.
type hedges struct {
	tokens float64 // blocks that may be hedged; negative: debt
	sent   int64
	late   []late // scratch
}

// earn saves up for hedges with each block received.
func (p *Picker) earn() {
	share := float64(hedgeIdle)
	switch {
	case p.readers.sequential() > 0: // wants all that the link gives, in bytes that it has not got yet
		share = hedgeBusy / 2
	case p.pieces.busy():
		share = hedgeBusy
	}
	p.hedges.tokens = min(p.hedges.tokens+share, hedgeBurst)
}

// gather collects the outstanding blocks for which want holds, one entry for each, latest first.
func (h *hedges) gather(all *peers, now float64, want func(x *request) bool) {
	l := h.late[:0]
	for _, pr := range all.list {
		for i := range pr.ring.n {
			x := pr.ring.at(i)
			if !x.live() || !want(x) {
				continue
			}
			at := pr.arrival(now, i)
			if pr.choked || pr.suspect {
				at = max(at, now+5)
			}
			l = append(l, late{x.block, pr, at, now-x.pred > max(hedgeDevs*pr.dev, hedgeFloor)})
		}
	}
	// One entry for each block: that of the holder who delivers first.
	slices.SortFunc(l, func(a, b late) int {
		switch {
		case a.block != b.block:
			if a.block < b.block {
				return -1
			}
			return 1
		case a.at < b.at:
			return -1
		case a.at > b.at:
			return 1
		}
		return 0
	})
	n := 0
	for _, x := range l {
		if n > 0 && l[n-1].block == x.block {
			l[n-1].overdue = l[n-1].overdue && x.overdue
			continue
		}
		l[n] = x
		n++
	}
	l = l[:n]
	slices.SortStableFunc(l, func(a, b late) int {
		switch {
		case a.at > b.at:
			return -1
		case a.at < b.at:
			return 1
		}
		return 0
	})
	h.late = l[:min(n, maxHedgeScan)]
}

// hedgeUrgent asks a second or third peer for urgent blocks that it would deliver clearly earlier: all late ones once every block is
// requested, before that only the overdue.
func (p *Picker) hedgeUrgent() {
	p.hedges.gather(&p.peers, p.now, func(x *request) bool { return x.flags&flagUrgent != 0 })
	for _, l := range p.hedges.late {
		if p.hedges.tokens < -hedgeDebt || !p.peers.mayRequest(p.credit.Urgent) {
			return
		}
		if p.plan.unissued > 0 && !l.overdue {
			continue
		}
		piece, block := p.pieces.split(l.block)
		pt := p.pieces.part(piece)
		if pt == nil || pt.sole || pt.holders(block) >= maxHolders {
			continue
		}
		// The scarcer the budget, the more a hedge must gain; rescues may run a debt.
		floor := max(hedgeFloor, l.pr.dev)
		gain := floor * min(max(32/max(p.hedges.tokens, 1.0/16), 1), 16)
		if p.hedges.tokens < 1 || gain > rescueGain {
			gain = max(rescueGain, floor)
		}
		if pt.holders(block) > 1 {
			gain = max(thirdGain, 2*gain)
		}
		p.hedge(l, gain, slackUrgent, hedgeOverDepth, flagUrgent)
	}
}

// hedgeReadAhead asks a second peer for read-ahead blocks that will miss their deadline.
func (p *Picker) hedgeReadAhead() {
	for _, rd := range p.readers.list {
		if rd.window == 0 || rd.hint {
			continue
		}
		first, end := p.pieces.PieceOf(min(rd.pos, p.pieces.Size()-1)), rd.end
		p.hedges.gather(&p.peers, p.now, func(x *request) bool {
			piece, _ := p.pieces.split(x.block)
			return x.flags&(flagHedge|flagUrgent) == 0 && piece >= first && piece < end && p.deadline(rd, x.block) <= p.now+hedgeHorizon
		})
		for _, l := range p.hedges.late {
			if p.hedges.tokens < 1 || !p.peers.mayRequest(p.credit.ReadAhead) {
				return
			}
			if l.at < p.deadline(rd, l.block)-0.25 {
				continue
			}
			p.hedge(l, max(0.1, 2*l.pr.dev), slackUrgent, hedgeOverDepth, flagReadAhead)
		}
	}
}

// deadline is when a reader comes to a block; where only whole pieces verify, to its piece.
func (p *Picker) deadline(rd *reader, b blockID) float64 {
	piece, block := p.pieces.split(b)
	at := int64(piece) * p.pieces.PieceLength()
	if p.pieces.leaves {
		at += int64(block) * BlockSize
	}
	return p.now + float64(max(0, at-rd.pos))/rd.speed
}

// endgame asks a second peer for the last blocks of a download, once there is nothing else to request.
func (p *Picker) endgame() {
	const most = 2048 // outstanding blocks
	if len(p.pieces.open) > 0 || p.pieces.fresh.len() > 0 || p.peers.inflight == 0 || p.peers.inflight > most {
		return
	}
	p.hedges.gather(&p.peers, p.now, func(x *request) bool {
		piece, _ := p.pieces.split(x.block)
		return x.flags&flagHedge == 0 && p.pieces.want.Has(piece)
	})
	for _, l := range p.hedges.late {
		if !p.peers.mayRequest(p.credit.Background) {
			return
		}
		p.hedge(l, max(0.2, 2*l.pr.dev), slackBulk, 0, 0)
	}
}

// hedge requests a late block from the peer that would deliver it first, where that gains enough seconds.
func (p *Picker) hedge(l late, gain, slack float64, over int, flags uint8) {
	piece, block := p.pieces.split(l.block)
	if pt := p.pieces.part(piece); pt == nil || pt.sole || pt.have.Has(block) || pt.holders(block) >= maxHolders {
		return
	}
	var best *peer
	at := l.at - gain
	for _, q := range p.peers.list {
		if q.suspect || q.blocks == 0 || q.mute() || !q.serves(piece) {
			continue
		}
		if f := q.base(p.now) + q.blockTime() + q.dev; f < at && q.room(q.depth(p.now, slack, startupGain, 0)+over) > 0 && !q.owes(l.block) {
			best, at = q, f
		}
	}
	if best == nil {
		return
	}
	p.hedges.tokens--
	p.hedges.sent++
	if i := l.pr.ring.find(l.block); i >= 0 {
		l.pr.ring.at(i).flags |= flagHedge
	}
	p.request(best, l.block, flags|flagHedge)
}
