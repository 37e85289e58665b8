package picker

import (
	"math"

	"torrentfs/metainfo"
)

const (
	sequentialRun  = 128 << 10 // bytes read in order that start read-ahead
	sequentialSlip = 256 << 10 // bytes by which a read may miss the position and still continue the run: reads of one handle overtake each other
	priorSpeed     = 2e6       // bytes/s of a reader, until its reads tell
	speedMemory    = 4e6       // bytes after which a sample has lost most of its weight
	readAheadTime  = 15.0      // s of reading that a window covers
	readAheadMin   = 4 << 20   // bytes
	readAheadRamp  = 4         // window over run
	deadlineMargin = 0.3       // s
	hedgeHorizon   = 3.0       // s: read-ahead that is due later than this is not hedged yet
	maxWindowScan  = 2048      // pieces of a window that one pass looks at
)

// follow learns from a read.
func (p *Picker) follow(rd *reader, r metainfo.ByteRange) {
	off, end := p.pieces.clip(r)
	n := end - off
	slip := max(sequentialSlip, 2*n)
	switch {
	case rd.seen && off >= rd.pos-slip && off <= rd.pos+slip:
		if end > rd.pos {
			rd.learnSpeed(p.now, end-rd.pos)
			rd.run += end - rd.pos
			rd.pos = end
		}
	default:
		jumped := rd.seen && rd.run >= sequentialRun
		rd.seen, rd.run, rd.pos, rd.speed = true, n, end, priorSpeed
		rd.lastAt, rd.blockedFor = p.now, 0
		rd.cursor = 0
		p.readers.reserve.dirty = true
		if jumped {
			p.readers.resize(rd, p.now, &p.pieces, &p.peers)
			p.abandon()
		}
	}
	p.readers.resize(rd, p.now, &p.pieces, &p.peers)
}

func (p *Picker) touchReadAhead(rd *reader) {
	if rd.window > 0 && p.readers.reserve.dirty {
		p.wake = true
	}
}

// updateReserve gathers what the readers need, now or soon.
func (p *Picker) updateReserve() {
	if p.readers.updateReserve(p.now, &p.pieces) {
		p.reconsider()
	}
}

// reserveEnd is when a reader's window is left to the background, if that can matter; else +Inf.
func (p *Picker) reserveEnd() float64 {
	if p.pieces.fresh.len() == 0 && len(p.pieces.open) == 0 {
		return math.Inf(1)
	}
	return max(p.readers.reserve.until, p.slowAt+slowTick)
}

// reconsider has peers for which no fresh piece was found look again: what was refused them may be allowed now.
func (p *Picker) reconsider() {
	p.readers.reserve.vetoed = false
	p.pieces.fresh.gen++
	p.wake = true
}

// fillReadAhead requests up to n blocks of a reader's window from a peer, in order. A block is given to a peer that will deliver it
// well before the reader comes to it, or no later than the swarm would come to it. It returns how many were requested.
func (p *Picker) fillReadAhead(pr *peer, rd *reader, n int) int {
	end := rd.end
	first := p.pieces.PieceOf(min(rd.pos, p.pieces.Size()-1))
	rd.cursor = max(rd.cursor, first)
	for rd.cursor < end && !p.pieces.hasFree(rd.cursor) {
		rd.cursor++
	}
	ahead := 0.0 // bytes that the swarm requests first
	got := 0
	finish := pr.base(p.now) + pr.blockTime()
	for piece := rd.cursor; piece < end && piece < rd.cursor+maxWindowScan && got < n; piece++ {
		if !p.pieces.hasFree(piece) {
			continue
		}
		blocks := p.pieces.NumBlocks(piece)
		free := blocks
		if pt := p.pieces.part(piece); pt != nil {
			free = int(pt.free)
		}
		if !p.pieces.mayAsk(&p.peers, pr, piece) {
			ahead += float64(free) * BlockSize
			continue
		}
		from, at := 0, int64(piece)*p.pieces.PieceLength()
		if p.pieces.leaves && rd.pos > at {
			from = int((rd.pos - at) / BlockSize)
		}
		for b := from; got < n && free > 0; b++ {
			if b = p.pieces.nextFree(piece, b); b < 0 {
				break
			}
			free--
			due := at
			place := p.now + 0.05 + (ahead+BlockSize)/rd.swarm
			if p.pieces.leaves {
				due += int64(b) * BlockSize
			} else {
				place += float64(free) * BlockSize / rd.swarm
			}
			deadline := p.now + float64(max(0, due-rd.pos))/rd.speed
			id := p.pieces.id(piece, b)
			tooLate := !rd.hint && p.now+2*(finish-p.now)+deadlineMargin > deadline && finish+pr.dev > place
			if tooLate || pr.cancelled > 0 && pr.owes(id) {
				ahead += BlockSize
				continue
			}
			p.request(pr, id, flagReadAhead)
			finish += pr.blockTime()
			got++
		}
	}
	return got
}
