package picker

import "torrentfs/metainfo"

const (
	slackReader = 0.020 // s of queue beyond the bandwidth-delay product while a reader was seen lately
	slackSeek   = 0.003 // the same while no reader reads in order; its next read waits behind the queue
	slackUrgent = 0.020 // the same for urgent blocks, and for all while a read of a reader in order is blocked
	slackBulk   = 0.100 // the same with no reader

	readerLinger = 30.0 // s for which a reader counts as seen lately

	partialsPerPeer = 1.5
	idlePartials    = 4.0  // the same for a peer that would idle
	ownPieceTime    = 20.0 // s: a peer that takes longer for a piece of its own joins others'
	maxOpenScan     = 64   // partial pieces that one pick looks at
	refillBatch     = 4
)

// fill requests what a peer has room for: read-ahead, then background.
func (p *Picker) fill(pr *peer) {
	pr.starved = false
	if pr.mute() || p.plan.unissued > 0 && pr.kept {
		return
	}
	depth := p.depth(pr)
	n := pr.room(depth)
	if n <= 0 || n < min(refillBatch, depth/8) && pr.outstanding() > 0 {
		return
	}
	for _, rd := range p.readers.list {
		if n <= 0 {
			return
		}
		if rd.window > 0 {
			n -= p.fillReadAhead(pr, rd, min(n, p.peers.creditRoom(p.credit.ReadAhead)))
		}
	}
	for m := min(n, p.peers.creditRoom(p.credit.Background)); m > 0; m-- {
		b, ok := p.pickBackground(pr)
		if !ok {
			break
		}
		p.request(pr, b, 0)
		n--
	}
	pr.starved = n > 0
}

// depth is how many requests a peer is to have while no read needs it: the more a reader may come to wait for them, the fewer.
func (p *Picker) depth(pr *peer) int {
	slack, gain := slackBulk, startupGain
	switch lately := p.now-p.readers.at < readerLinger; {
	case len(p.readers.blocked) == 0 && !lately:
	case p.readers.sequential() == 0:
		slack, gain = slackSeek, seekStartupGain
	case len(p.readers.blocked) > 0:
		slack = slackUrgent
	default:
		slack = slackReader
	}
	return pr.depth(p.now, slack, gain, firstDepth)
}

// pickBackground chooses a wanted block: of the peer's own piece, of a partial piece, of the rarest fresh piece.
func (p *Picker) pickBackground(pr *peer) (blockID, bool) {
	if pr.affinity >= 0 {
		if pt := p.pieces.part(pr.affinity); pt != nil && pt.open >= 0 {
			if b, ok := p.takeFrom(pr, pt); ok {
				return b, true
			}
		}
		pr.affinity = -1
	}
	// Pieces that are requested to the last block do not count: a fast peer has many of them under way.
	mayOpen := float64(len(p.pieces.open)) < partialsPerPeer*float64(len(p.peers.list))
	own := mayOpen && float64(p.pieces.PieceLength())/pr.rate < ownPieceTime
	if b, ok := p.pickPartial(pr, own); ok {
		return b, true
	}
	if mayOpen {
		if b, ok := p.pickFresh(pr); ok {
			return b, true
		}
	}
	if own {
		if b, ok := p.pickPartial(pr, false); ok {
			return b, true
		}
	}
	if !mayOpen && float64(len(p.pieces.open)) < idlePartials*float64(len(p.peers.list)) {
		return p.pickFresh(pr) // it has none of the open ones: better one more than an idle peer
	}
	return 0, false
}

// pickPartial chooses a block of a partial piece; orphans: only of pieces that no peer is on.
func (p *Picker) pickPartial(pr *peer, orphans bool) (blockID, bool) {
	n := len(p.pieces.open)
	for i := range min(n, maxOpenScan) {
		pt := p.pieces.open[(int(pr.live)+i)%n] // peers begin at different ones
		if orphans && pt.live > 0 {
			continue
		}
		if b, ok := p.takeFrom(pr, pt); ok {
			pr.affinity = pt.piece
			return b, true
		}
	}
	return 0, false
}

func (p *Picker) takeFrom(pr *peer, pt *partial) (blockID, bool) {
	piece := pt.piece
	if !p.mayTake(pr, piece) {
		return 0, false
	}
	for b := pt.nextFree(0, int(pt.blocks)); b >= 0; b = pt.nextFree(b+1, int(pt.blocks)) {
		if id := p.pieces.id(piece, b); pr.cancelled == 0 || !pr.owes(id) {
			return id, true
		}
	}
	return 0, false
}

// mayTake reports whether a peer may be asked for a piece in the background.
func (p *Picker) mayTake(pr *peer, piece metainfo.Piece) bool {
	if p.readers.reserve.busy.has(piece) {
		p.readers.reserve.vetoed = true
		return false
	}
	return p.pieces.mayAsk(&p.peers, pr, piece)
}

func (p *Picker) pickFresh(pr *peer) (blockID, bool) {
	if p.pieces.fresh.len() == 0 || pr.noneAny && pr.noneGen == p.pieces.fresh.gen {
		return 0, false
	}
	start, pick := 0, p.pieces.fresh.pick
	if p.order != RarestFirst {
		pick = p.pieces.fresh.next
	}
	if n := len(p.pieces.fresh.member); n > 0 && p.order != InOrder {
		start = p.rng.IntN(n)
	}
	piece := pick(pr.have, pr.seed, start, func(piece metainfo.Piece) bool { return p.mayTake(pr, piece) })
	if piece < 0 {
		pr.noneAny, pr.noneGen = true, p.pieces.fresh.gen
		return 0, false
	}
	b := p.pieces.nextFree(piece, 0)
	if b < 0 {
		return 0, false
	}
	id := p.pieces.id(piece, b)
	if pr.cancelled > 0 && pr.owes(id) {
		return 0, false
	}
	pr.affinity = piece
	return id, true
}
