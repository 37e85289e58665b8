package picker

import (
	"time"

	"torrentfs/metainfo"
)

// goneMemory is how many dropped requests of a peer are remembered, at most.
const goneMemory = 1024

// request asks a peer for a block. The caller made sure that the peer serves it, does not owe it yet and has room.
func (p *Picker) request(pr *peer, b blockID, flags uint8) {
	if pr.ring.n == 0 {
		flags |= flagEmpty
	}
	pred := pr.base(p.now) + pr.blockTime()
	pr.warmUp(p.now)
	pr.ring.push(request{block: b, sent: p.now, pred: pred, seq: pr.requested, flags: flags})
	pr.requested++
	piece, block := p.pieces.split(b)
	pt := p.pieces.start(piece)
	p.pieces.hold(pt, block)
	p.peers.inflight++
	if pt.sole && pt.owner < 0 {
		pt.owner = pr.id
	}
	p.emit(Action{Kind: Request, Peer: pr.id, Block: metainfo.Block{Piece: piece, Index: block}, On: flags&(flagUrgent|flagReadAhead) != 0})
}

// owes reports whether a peer may still send a block: the only way in which it could be asked for it twice.
func (pr *peer) owes(b blockID) bool { return pr.ring.find(b) >= 0 }

// cancel sends CANCEL for request i. It stays in the ring, without holding its block, until it is resolved.
func (p *Picker) cancel(pr *peer, i int) {
	x := pr.ring.at(i)
	if !x.live() {
		return
	}
	x.lead = float32(pr.arrival(p.now, i) - p.now)
	x.flags |= flagCancelled
	x.seq = pr.requested
	pr.cancelled++
	b := p.pieces.block(x.block)
	p.emit(Action{Kind: Cancel, Peer: pr.id, Block: b})
	p.release(b)
}

// take removes request i from the ring and its hold from the block.
func (p *Picker) take(pr *peer, i int) request {
	x := pr.ring.remove(i)
	p.peers.inflight--
	if x.live() {
		p.release(p.pieces.block(x.block))
	} else {
		pr.cancelled--
	}
	return x
}

// release takes one live request off a block.
func (p *Picker) release(b metainfo.Block) {
	if pt := p.pieces.part(b.Piece); pt != nil && p.pieces.unhold(pt, b.Index) {
		p.freed(b.Piece)
	}
}

// freed has all look again at a piece that got free blocks.
func (p *Picker) freed(piece metainfo.Piece) {
	p.readers.rewind(piece)
	p.plan.stale, p.wake = true, true
}

// drop gives up request i, which was not answered.
func (p *Picker) drop(pr *peer, i int) {
	x := p.take(pr, i)
	if len(pr.gone) < goneMemory {
		pr.gone = append(pr.gone, x.block)
		return
	}
	pr.gone[pr.goneNext] = x.block
	pr.goneNext = (pr.goneNext + 1) % goneMemory
}

// ungone reports whether a block was requested and given up, and forgets it.
func (pr *peer) ungone(b blockID) bool {
	for i, g := range pr.gone {
		if g == b {
			last := len(pr.gone) - 1
			pr.gone[i] = pr.gone[last]
			pr.gone = pr.gone[:last]
			pr.goneNext = 0
			return true
		}
	}
	return false
}

// Progress tells that bytes of a block have come from a peer so far. Steps of 4 KiB or more are enough, for urgent blocks alone
// or for all: a slow block is then told from a stalled one.
func (p *Picker) Progress(now time.Duration, id PeerID, block metainfo.Block, bytes int) {
	p.clock(now)
	pr := p.peers.table.get(id)
	if pr == nil || bytes <= 0 || !p.pieces.hasBlock(block) {
		return
	}
	pr.progBlock, pr.progBytes, pr.progAt = p.pieces.id(block.Piece, block.Index), float64(min(bytes, BlockSize)), p.now
	pr.lastByte = p.now
	p.recovered(pr)
}

// Received tells that a peer sent a whole block and returns what it is good for. Data that came after its request was cancelled
// or given up is as good as any.
func (p *Picker) Received(now time.Duration, id PeerID, block metainfo.Block) Verdict {
	p.clock(now)
	pr := p.peers.table.get(id)
	if pr == nil || !p.pieces.hasBlock(block) {
		return Unrequested
	}
	piece, index := block.Piece, block.Index
	b := p.pieces.id(piece, index)
	if i := pr.ring.find(b); i >= 0 {
		p.answeredBefore(pr, i)
		x := p.takeAnswered(pr, pr.ring.find(b), block)
		pr.followBursts(p.now, &x)
		pr.observe(p.now, &x)
		switch {
		case !x.live():
			pr.learnLead(&x, true)
		case int32(x.seq-pr.answered) > 0:
			pr.answered = x.seq
		}
	} else if !pr.ungone(b) {
		return Unrequested
	}
	pr.lastArr, pr.lastByte = p.now, p.now
	p.recovered(pr)
	if len(pr.rests) > 0 {
		p.peers.served(pr, piece)
	}
	p.touch(pr)
	p.earn()
	p.plan.stale = true
	if s := p.pieces.state[piece]; s == stateHeld || s == stateVirtual {
		return Duplicate
	}
	pt := p.pieces.start(piece)
	if pt.have.Has(index) {
		return Duplicate
	}
	p.store(pt, index, id)
	return NewBlock
}

// takeAnswered is take for a request whose block, b, is about to be stored: the block is not given back in between.
func (p *Picker) takeAnswered(pr *peer, i int, b metainfo.Block) request {
	x := pr.ring.at(i)
	if !x.live() {
		return p.take(pr, i)
	}
	pt := p.pieces.part(b.Piece)
	if pt == nil || pt.have.Has(b.Index) {
		return p.take(pr, i)
	}
	p.peers.inflight--
	n := pt.holders(b.Index)
	pt.req[n-1].Clear(b.Index)
	pt.live--
	if n == 1 {
		if pt.free++; pt.free == 1 {
			p.pieces.list(pt)
		}
	}
	return pr.ring.remove(i)
}

// answeredBefore resolves cancelled requests of which the peer says nothing any more, since it answered request i. Without the Fast
// extension one that obeys a CANCEL is silent, and must have obeyed where a later request is answered. With it there should have been
// a reject (BEP 6), which Transmission 3.00 does not send: there the request must be later than the CANCEL.
func (p *Picker) answeredBefore(pr *peer, i int) {
	if pr.cancelled == 0 {
		return
	}
	answer := *pr.ring.at(i)
	if pr.fast && !answer.live() {
		return // it may have been on its way before the CANCEL
	}
	for i--; i >= 0; i-- {
		x := pr.ring.at(i)
		if x.live() || pr.fast && int32(answer.seq-x.seq) < 0 {
			continue
		}
		pr.learnLead(x, false)
		p.drop(pr, i)
	}
}

// store marks a block as received from a peer.
func (p *Picker) store(pt *partial, index int, from PeerID) {
	pt.addSource(from)
	p.keep(pt, index)
}

// keep marks a block as held and cancels it wherever it is requested.
func (p *Picker) keep(pt *partial, index int) {
	if !pt.req[0].Has(index) {
		if pt.free--; pt.free == 0 {
			p.pieces.unlist(pt)
		}
	}
	pt.have.Set(index)
	pt.left--
	if pt.req[0].Has(index) {
		p.cancelBlock(p.pieces.id(pt.piece, index))
	}
}

// cancelBlock cancels a block at all peers.
func (p *Picker) cancelBlock(b blockID) {
	for _, pr := range p.peers.list {
		if i := pr.ring.find(b); i >= 0 && pr.ring.at(i).live() {
			p.cancel(pr, i)
			p.touch(pr)
		}
	}
}

// Rejected tells that a peer refused a request (BEP 6).
func (p *Picker) Rejected(now time.Duration, id PeerID, block metainfo.Block) {
	p.clock(now)
	pr := p.peers.table.get(id)
	if pr == nil || !p.pieces.hasBlock(block) {
		return
	}
	b := p.pieces.id(block.Piece, block.Index)
	i := pr.ring.find(b)
	if i < 0 {
		pr.ungone(b)
		return
	}
	x := p.take(pr, i)
	pr.lastArr = max(pr.lastArr, p.now-pr.blockTime())
	if !x.live() {
		p.recovered(pr)
		pr.learnLead(&x, false)
	} else {
		p.refusal(pr, block.Piece)
	}
	p.touch(pr)
	p.plan.stale = true
}
