package picker

import (
	"math"
	"slices"

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

// reader is what is known of one reader: where it reads, how long it has read in order, and how fast.
type reader struct {
	id     ReaderID
	pos    int64   // end of its last read
	run    int64   // bytes read in order up to pos
	speed  float64 // bytes/s while it is not blocked
	seen   bool
	hint   bool    // no reader, but a range that may be read soon; see WillNeed
	lastAt float64 // last read

	blocked    int     // blocked reads
	turns      int     // scratch of a plan
	blockedAt  float64 // since when
	blockedFor float64 // blocked time since lastAt, seconds

	window int64          // read-ahead beyond pos, bytes
	end    metainfo.Piece // piece after the window's last; 0: no window
	swarm  float64        // rate of the peers that serve the window's pieces
	rateAt float64        // when swarm was measured
	cursor metainfo.Piece // first piece of the window that may have free blocks
}

func (p *Picker) reader(id ReaderID) *reader {
	for _, rd := range p.readers {
		if rd.id == id {
			return rd
		}
	}
	rd := &reader{id: id, speed: priorSpeed}
	p.readers = append(p.readers, rd)
	return rd
}

func (rd *reader) block(now float64) {
	if rd.blocked++; rd.blocked == 1 {
		rd.blockedAt = now
	}
}

func (rd *reader) unblock(now float64) {
	if rd.blocked--; rd.blocked == 0 {
		rd.blockedFor += now - max(rd.blockedAt, rd.lastAt)
	}
}

// follow learns from a read.
func (p *Picker) follow(rd *reader, r metainfo.ByteRange) {
	off, end := p.g.clip(r)
	n := end - off
	slip := max(sequentialSlip, 2*n)
	switch {
	case rd.seen && off >= rd.pos-slip && off <= rd.pos+slip:
		if end > rd.pos {
			p.learnSpeed(rd, end-rd.pos)
			rd.run += end - rd.pos
			rd.pos = end
		}
	default:
		jumped := rd.seen && rd.run >= sequentialRun
		rd.seen, rd.run, rd.pos, rd.speed = true, n, end, priorSpeed
		rd.lastAt, rd.blockedFor = p.now, 0
		rd.cursor = 0
		p.reserve.dirty = true
		if jumped {
			p.resize(rd)
			p.abandon()
		}
	}
	p.resize(rd)
}

// learnSpeed takes n bytes, read in the time since the last read that the reader was not blocked: a harmonic mean by bytes.
func (p *Picker) learnSpeed(rd *reader, n int64) {
	idle := rd.blockedFor
	if rd.blocked > 0 {
		idle += p.now - max(rd.blockedAt, rd.lastAt)
	}
	dt := max(p.now-rd.lastAt-idle, 1e-6)
	a := 1 - math.Exp(-float64(n)/speedMemory)
	rd.speed = 1 / ((1-a)/rd.speed + a*dt/float64(n))
	rd.lastAt, rd.blockedFor = p.now, 0
	rd.blockedAt = max(rd.blockedAt, p.now)
}

// resize computes the read-ahead window.
func (p *Picker) resize(rd *reader) {
	old := rd.end
	rd.window, rd.end = 0, 0
	if rd.run >= sequentialRun && p.readAhead > 0 {
		piece := p.g.PieceLength()
		if rd.swarm == 0 || p.now-rd.rateAt > 0.05 {
			rd.swarm, rd.rateAt = p.holdersRate(p.g.PieceOf(min(rd.pos, p.g.Size()-1))), p.now
		}
		w := int64(min(rd.speed, 1.2*rd.swarm) * readAheadTime)
		w = max(w, readAheadMin)
		least := int64(BlockSize)
		if !p.g.leaves {
			w, least = max(w, 2*piece), piece
		}
		w = max(min(w, readAheadRamp*rd.run), least)
		rd.window = min(w, p.readAhead/int64(max(1, p.sequential())))
	}
	if rd.window > 0 {
		rd.end = p.g.pieceAfter(rd.pos + rd.window)
	}
	if rd.end != old {
		p.reserve.dirty = true
	}
}

// sequential counts the readers that read ahead.
func (p *Picker) sequential() int {
	n := 0
	for _, rd := range p.readers {
		if rd.run >= sequentialRun {
			n++
		}
	}
	return n
}

func (p *Picker) touchReadAhead(rd *reader) {
	if rd.window > 0 && p.reserve.dirty {
		p.wake = true
	}
}

// rewindReaders has the readers look again at a piece that got free blocks.
func (p *Picker) rewindReaders(piece metainfo.Piece) {
	for _, rd := range p.readers {
		if piece < rd.cursor {
			rd.cursor = piece
		}
	}
}

// span is pieces [lo, hi).
type span struct{ lo, hi metainfo.Piece }

// spans are sorted and apart.
type spans []span

func (s spans) has(piece metainfo.Piece) bool {
	i, _ := slices.BinarySearchFunc(s, piece, func(x span, piece metainfo.Piece) int { return int(x.hi - piece - 1) })
	return i < len(s) && s[i].lo <= piece
}

// join sorts spans and joins those that touch.
func (s spans) join() spans {
	slices.SortFunc(s, func(a, b span) int { return int(a.lo - b.lo) })
	n := 0
	for _, x := range s {
		if n > 0 && x.lo <= s[n-1].hi {
			s[n-1].hi = max(s[n-1].hi, x.hi)
			continue
		}
		s[n] = x
		n++
	}
	return s[:n]
}

// reserve is the pieces that readers need, now or soon: those of blocked reads and of read-ahead windows.
type reserve struct {
	all    spans
	busy   spans // without the windows of idle readers: what background must not touch
	dirty  bool
	until  float64 // when the next reader becomes idle; +Inf: none will
	vetoed bool    // background was refused a piece of busy, so that a peer may wait for the end of that
}

// updateReserved gathers the reserve anew if it changed. A reader that has not read for a while, as a player that is paused, keeps
// its window, but read-ahead gives none of it to a peer that it judges to come too late: so the background may take it too.
func (p *Picker) updateReserved() {
	if !p.reserve.dirty && p.now < p.reserve.until {
		return
	}
	p.reserve.dirty, p.reserve.until = false, math.Inf(1)
	all, busy := p.reserve.all[:0], p.reserve.busy[:0]
	for _, r := range p.reads {
		all, busy = append(all, span{r.piece, r.last + 1}), append(busy, span{r.piece, r.last + 1})
	}
	for _, rd := range p.readers {
		if rd.end == 0 {
			continue
		}
		window := span{p.g.PieceOf(min(rd.pos, p.g.Size()-1)), rd.end}
		all = append(all, window)
		idleAt := rd.lastAt + readerLinger
		if rd.hint || rd.blocked > 0 || p.now < idleAt {
			busy = append(busy, window)
		}
		if !rd.hint && p.now < idleAt {
			p.reserve.until = min(p.reserve.until, idleAt)
		}
	}
	p.reserve.all, p.reserve.busy = all.join(), busy.join()
	if p.reserve.vetoed {
		p.reconsider()
	}
}

// reserveEnd is when a reader's window is left to the background, if that can matter; else +Inf.
func (p *Picker) reserveEnd() float64 {
	if p.fresh.len() == 0 && len(p.open) == 0 {
		return math.Inf(1)
	}
	return max(p.reserve.until, p.slowAt+slowTick)
}

// reconsider has peers for which no fresh piece was found look again: what was refused them may be allowed now.
func (p *Picker) reconsider() {
	p.reserve.vetoed = false
	p.fresh.gen++
	p.wake = true
}

// reserved reports whether a reader needs a piece, now or soon.
func (p *Picker) reserved(piece metainfo.Piece) bool { return p.reserve.all.has(piece) }

// holdersRate is the rate of the peers that serve a piece.
func (p *Picker) holdersRate(piece metainfo.Piece) float64 {
	s := 0.0
	for _, pr := range p.peers {
		if pr.blocks > 0 && !pr.suspect && pr.serves(piece) {
			s += pr.rate
		}
	}
	return max(s, 50e3)
}

// fillReadAhead requests up to n blocks of a reader's window from a peer, in order. A block is given to a peer that will deliver it
// well before the reader comes to it, or no later than the swarm would come to it. It returns how many were requested.
func (p *Picker) fillReadAhead(pr *peer, rd *reader, n int) int {
	end := rd.end
	first := p.g.PieceOf(min(rd.pos, p.g.Size()-1))
	rd.cursor = max(rd.cursor, first)
	for rd.cursor < end && !p.hasFree(rd.cursor) {
		rd.cursor++
	}
	ahead := 0.0 // bytes that the swarm requests first
	got := 0
	finish := pr.base(p.now) + pr.blockTime()
	for piece := rd.cursor; piece < end && piece < rd.cursor+maxWindowScan && got < n; piece++ {
		if !p.hasFree(piece) {
			continue
		}
		blocks := p.g.NumBlocks(piece)
		free := blocks
		if pt := p.part(piece); pt != nil {
			free = int(pt.free)
		}
		if !p.mayAsk(pr, piece) {
			ahead += float64(free) * BlockSize
			continue
		}
		from, at := 0, int64(piece)*p.g.PieceLength()
		if p.g.leaves && rd.pos > at {
			from = int((rd.pos - at) / BlockSize)
		}
		for b := from; got < n && free > 0; b++ {
			if b = p.nextFree(piece, b); b < 0 {
				break
			}
			free--
			due := at
			place := p.now + 0.05 + (ahead+BlockSize)/rd.swarm
			if p.g.leaves {
				due += int64(b) * BlockSize
			} else {
				place += float64(free) * BlockSize / rd.swarm
			}
			deadline := p.now + float64(max(0, due-rd.pos))/rd.speed
			id := p.g.id(piece, b)
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

// hasFree reports whether a piece has a block that is neither held nor requested.
func (p *Picker) hasFree(piece metainfo.Piece) bool {
	switch s := p.state[piece]; {
	case s >= 0:
		return p.parts[s].free > 0
	default:
		return s == stateFresh
	}
}

// nextFree returns a piece's first free block from a block on, or -1; the piece may be fresh.
func (p *Picker) nextFree(piece metainfo.Piece, from int) int {
	blocks := p.g.NumBlocks(piece)
	if from >= blocks {
		return -1
	}
	if pt := p.part(piece); pt != nil {
		return pt.nextFree(from, blocks)
	}
	if p.state[piece] != stateFresh {
		return -1
	}
	for _, v := range p.virtualOf(piece) {
		if from >= v.First && from < v.First+v.Count {
			from = v.First + v.Count
		}
	}
	if from >= blocks {
		return -1
	}
	return from
}
