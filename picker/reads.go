package picker

import (
	"time"

	"torrentfs/metainfo"
)

// Read tells that a reader is blocked on a range. ReadDone follows when all are verified, at once where
// they are. Bytes past the end do not count.
func (p *Picker) Read(now time.Duration, id ReaderID, r metainfo.ByteRange) ReadID {
	p.clock(now)
	rd := p.readers.get(id)
	p.follow(rd, r)
	return p.admit(rd, r)
}

// admit has a range fetched for a reader, which is told when all of it is verified.
func (p *Picker) admit(rd *reader, bytes metainfo.ByteRange) ReadID {
	p.readers.last++
	rid := p.readers.last
	off, end := p.pieces.clip(bytes)
	p.readers.at = p.now
	r := &read{id: rid, reader: rd, since: p.now, off: off, end: end}
	if off < end {
		r.piece, r.last = p.pieces.PieceOf(off), p.pieces.PieceOf(r.end-1)
		r.block = int(off % p.pieces.PieceLength() / BlockSize)
	}
	if off == end || r.advance(&p.pieces) {
		p.emit(Action{Kind: ReadDone, Read: rid})
		p.touchReadAhead(rd)
		return rid
	}
	rd.block(p.now)
	p.readers.blocked = append(p.readers.blocked, r)
	p.plan.stale, p.plan.blocked, p.readers.reserve.dirty = true, true, true
	return rid
}

// ReadHit tells that a reader was served a range without waiting: its speed and its run are learned from these too.
func (p *Picker) ReadHit(now time.Duration, id ReaderID, r metainfo.ByteRange) {
	p.clock(now)
	if off, end := p.pieces.clip(r); off == end {
		return
	}
	rd := p.readers.get(id)
	p.readers.at = p.now
	p.follow(rd, r)
	p.touchReadAhead(rd)
}

// ReadCancel tells that nobody waits for a read any more. What was requested for it and nobody else wants is cancelled.
func (p *Picker) ReadCancel(now time.Duration, id ReadID) {
	p.clock(now)
	for i, r := range p.readers.blocked {
		if r.id == id {
			p.endRead(i)
			p.abandon()
			return
		}
	}
}

// ReaderClose forgets a reader with its reads and its read-ahead.
func (p *Picker) ReaderClose(now time.Duration, id ReaderID) {
	p.clock(now)
	for i := len(p.readers.blocked) - 1; i >= 0; i-- {
		if p.readers.blocked[i].reader.id == id {
			p.endRead(i)
		}
	}
	for i, rd := range p.readers.list {
		if rd.id == id {
			p.readers.list = append(p.readers.list[:i], p.readers.list[i+1:]...)
			p.readers.reserve.dirty = true
			break
		}
	}
	p.abandon()
}

func (p *Picker) endRead(i int) {
	r := p.readers.blocked[i]
	p.readers.blocked = append(p.readers.blocked[:i], p.readers.blocked[i+1:]...)
	r.reader.unblock(p.now)
	p.readers.at = p.now
	p.plan.stale, p.readers.reserve.dirty, p.wake = true, true, true
}

// serve completes the reads that a newly verified piece or block ends.
func (p *Picker) serve(piece metainfo.Piece) {
	for i := 0; i < len(p.readers.blocked); {
		r := p.readers.blocked[i]
		if piece != r.piece || !r.advance(&p.pieces) {
			i++
			continue
		}
		p.emit(Action{Kind: ReadDone, Read: r.id})
		p.endRead(i)
	}
}

// abandon cancels requests for pieces that are neither wanted nor in any reader's way, and takes the urgency from those that no
// read waits for.
func (p *Picker) abandon() {
	p.updateReserve()
	for _, pr := range p.peers.list {
		for i := pr.ring.n - 1; i >= 0; i-- {
			x := pr.ring.at(i)
			if !x.live() {
				continue
			}
			piece, block := p.pieces.split(x.block)
			if x.flags&flagUrgent != 0 && !p.readers.awaited(&p.pieces, piece, block) {
				x.flags &^= flagUrgent
			}
			if !p.pieces.want.Has(piece) && !p.readers.reserved(piece) {
				p.cancel(pr, i)
				p.touch(pr)
			}
		}
	}
}
