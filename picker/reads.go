package picker

import (
	"time"

	"torrentfs/metainfo"
)

// read is one blocked read, of the bytes [off, end).
type read struct {
	id       ReadID
	reader   *reader
	since    float64
	off, end int64
	piece    metainfo.Piece // first that is not known to be served, and for leaf-verified geometries
	block    int            // its first block that is not
	last     metainfo.Piece // piece of the last byte
	turn     int            // earlier reads of the reader, as of the last plan
}

// Read tells that a reader is blocked on a range. ReadDone follows when all are verified, at once where
// they are. Bytes past the end do not count.
func (p *Picker) Read(now time.Duration, id ReaderID, r metainfo.ByteRange) ReadID {
	p.clock(now)
	rd := p.reader(id)
	p.follow(rd, r)
	return p.admit(rd, r)
}

// admit has a range fetched for a reader, which is told when all of it is verified.
func (p *Picker) admit(rd *reader, bytes metainfo.ByteRange) ReadID {
	p.nextRead++
	rid := p.nextRead
	off, end := p.g.clip(bytes)
	p.readerAt, p.readerSeen = p.now, true
	r := &read{id: rid, reader: rd, since: p.now, off: off, end: end}
	if off < end {
		r.piece, r.last = p.g.PieceOf(off), p.g.PieceOf(r.end-1)
		r.block = int(off % p.g.PieceLength() / BlockSize)
	}
	if off == end || p.advance(r) {
		p.emit(Action{Kind: ReadDone, Read: rid})
		p.touchReadAhead(rd)
		return rid
	}
	rd.block(p.now)
	p.reads = append(p.reads, r)
	p.urgentDirty, p.urgentNew, p.reserve.dirty = true, true, true
	return rid
}

// ReadHit tells that a reader was served a range without waiting: its speed and its run are learned from these too.
func (p *Picker) ReadHit(now time.Duration, id ReaderID, r metainfo.ByteRange) {
	p.clock(now)
	if off, end := p.g.clip(r); off == end {
		return
	}
	rd := p.reader(id)
	p.readerAt, p.readerSeen = p.now, true
	p.follow(rd, r)
	p.touchReadAhead(rd)
}

// ReadCancel tells that nobody waits for a read any more. What was requested for it and nobody else wants is cancelled.
func (p *Picker) ReadCancel(now time.Duration, id ReadID) {
	p.clock(now)
	for i, r := range p.reads {
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
	for i := len(p.reads) - 1; i >= 0; i-- {
		if p.reads[i].reader.id == id {
			p.endRead(i)
		}
	}
	for i, rd := range p.readers {
		if rd.id == id {
			p.readers = append(p.readers[:i], p.readers[i+1:]...)
			p.reserve.dirty = true
			break
		}
	}
	p.abandon()
}

func (p *Picker) endRead(i int) {
	r := p.reads[i]
	p.reads = append(p.reads[:i], p.reads[i+1:]...)
	r.reader.unblock(p.now)
	p.readerAt = p.now
	p.urgentDirty, p.reserve.dirty, p.wake = true, true, true
}

// advance moves a read over what is verified and reports whether it is served.
func (p *Picker) advance(r *read) bool {
	for ; r.piece <= r.last; r.piece, r.block = r.piece+1, 0 {
		if p.held(r.piece) {
			continue
		}
		if !p.g.leaves {
			return false
		}
		pt := p.part(r.piece)
		_, end := p.ownBlocks(r, r.piece, p.g.NumBlocks(r.piece))
		for ; r.block < end; r.block++ {
			if pt != nil && !pt.leaf.Has(r.block) || pt == nil && !p.virtual(r.piece, r.block) {
				return false
			}
		}
	}
	return true
}

// readBlocks returns the blocks of a piece that a read needs: its own where blocks verify one by one, else all.
func (p *Picker) readBlocks(r *read, piece metainfo.Piece, blocks int) (from, end int) {
	if !p.byLeaves(piece) {
		return 0, blocks
	}
	return p.ownBlocks(r, piece, blocks)
}

// ownBlocks returns the blocks of a piece that a read covers and that it is not known to have.
func (p *Picker) ownBlocks(r *read, piece metainfo.Piece, blocks int) (from, end int) {
	if piece == r.piece {
		from = r.block
	}
	end = blocks
	if piece == r.last {
		at := int64(piece) * p.g.PieceLength()
		end = min(blocks, int((r.end-at+BlockSize-1)/BlockSize))
	}
	return from, end
}

// serve completes the reads that a newly verified piece or block ends.
func (p *Picker) serve(piece metainfo.Piece) {
	for i := 0; i < len(p.reads); {
		r := p.reads[i]
		if piece != r.piece || !p.advance(r) {
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
	p.updateReserved()
	for _, pr := range p.peers {
		for i := pr.ring.n - 1; i >= 0; i-- {
			x := pr.ring.at(i)
			if !x.live() {
				continue
			}
			piece, block := p.g.split(x.block)
			if x.flags&flagUrgent != 0 && !p.awaited(piece, block) {
				x.flags &^= flagUrgent
			}
			if !p.want.Has(piece) && !p.reserved(piece) {
				p.cancel(pr, i)
				p.touch(pr)
			}
		}
	}
}

// awaited reports whether a blocked read needs a block.
func (p *Picker) awaited(piece metainfo.Piece, block int) bool {
	for _, r := range p.reads {
		if piece < r.piece || piece > r.last {
			continue
		}
		from, end := p.readBlocks(r, piece, p.g.NumBlocks(piece))
		if block >= from && block < end {
			return true
		}
	}
	return false
}
