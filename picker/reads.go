package picker

import "time"

// read is one blocked read, of the bytes [off, end).
type read struct {
	id       ReadID
	reader   *reader
	since    float64
	off, end int64
	piece    int // first that is not known to be served, and for leaf-verified geometries
	block    int // its first block that is not
	last     int // piece of the last byte
	turn     int // earlier reads of the reader, as of the last plan
}

// Read tells that a reader is blocked on n bytes at off of the piece space. ReadDone follows when all are verified, at once where
// they are. Bytes past the end do not count.
func (p *Picker) Read(now time.Duration, id ReaderID, off, n int64) ReadID {
	p.clock(now)
	off = min(max(off, 0), p.g.Size)
	n = min(max(n, 0), p.g.Size-off)
	rd := p.reader(id)
	p.follow(rd, off, n)
	return p.admit(rd, off, n)
}

// admit has n bytes at off fetched for a reader, which is told when they are all verified.
func (p *Picker) admit(rd *reader, off, n int64) ReadID {
	p.nextRead++
	rid := p.nextRead
	off = min(max(off, 0), p.g.Size)
	n = min(max(n, 0), p.g.Size-off)
	p.readerAt, p.readerSeen = p.now, true
	r := &read{id: rid, reader: rd, since: p.now, off: off, end: off + n}
	if n > 0 {
		r.piece, r.last = int(off/p.g.PieceLength), int((r.end-1)/p.g.PieceLength)
		r.block = int(off % p.g.PieceLength / BlockSize)
	}
	if n == 0 || p.advance(r) {
		p.emit(Action{Kind: ReadDone, Read: rid})
		p.touchReadAhead(rd)
		return rid
	}
	rd.block(p.now)
	p.reads = append(p.reads, r)
	p.urgentDirty, p.urgentNew, p.reserve.dirty = true, true, true
	return rid
}

// ReadHit tells that a reader was served n bytes at off without waiting: its speed and its run are learned from these too.
func (p *Picker) ReadHit(now time.Duration, id ReaderID, off, n int64) {
	p.clock(now)
	off = min(max(off, 0), p.g.Size)
	n = min(max(n, 0), p.g.Size-off)
	if n == 0 {
		return
	}
	rd := p.reader(id)
	p.readerAt, p.readerSeen = p.now, true
	p.follow(rd, off, n)
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
		if !p.g.LeafVerified {
			return false
		}
		pt := p.part(r.piece)
		_, end := p.ownBlocks(r, r.piece, p.g.numBlocks(r.piece))
		for ; r.block < end; r.block++ {
			if pt != nil && !pt.leaf.Has(r.block) || pt == nil && !p.virtual(r.piece, r.block) {
				return false
			}
		}
	}
	return true
}

// readBlocks returns the blocks of a piece that a read needs: its own where blocks verify one by one, else all.
func (p *Picker) readBlocks(r *read, piece, blocks int) (from, end int) {
	if !p.byLeaves(piece) {
		return 0, blocks
	}
	return p.ownBlocks(r, piece, blocks)
}

// ownBlocks returns the blocks of a piece that a read covers and that it is not known to have.
func (p *Picker) ownBlocks(r *read, piece, blocks int) (from, end int) {
	if piece == r.piece {
		from = r.block
	}
	end = blocks
	if piece == r.last {
		at := int64(piece) * p.g.PieceLength
		end = min(blocks, int((r.end-at+BlockSize-1)/BlockSize))
	}
	return from, end
}

// serve completes the reads that a newly verified piece or block ends.
func (p *Picker) serve(piece int) {
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
			piece, block := p.g.Split(x.block)
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
func (p *Picker) awaited(piece, block int) bool {
	for _, r := range p.reads {
		if piece < r.piece || piece > r.last {
			continue
		}
		from, end := p.readBlocks(r, piece, p.g.numBlocks(piece))
		if block >= from && block < end {
			return true
		}
	}
	return false
}
