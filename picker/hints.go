package picker

import (
	"time"

	"torrentfs/metainfo"
)

// WillNeed tells that a range will probably be read soon: they are fetched as read-ahead is, behind what readers are
// blocked on and before the background. A hint belongs to an ID that no reader has, holds until ReaderClose of that ID, and
// replaces the ID's last one. It is no read: nothing is learned from it.
func (p *Picker) WillNeed(now time.Duration, id ReaderID, r metainfo.ByteRange) {
	p.clock(now)
	off, end := p.pieces.clip(r)
	n := min(end-off, p.readers.readAhead)
	if n <= 0 {
		return
	}
	rd := p.readers.get(id)
	rd.hint, rd.pos, rd.window = true, off, n
	rd.end = p.pieces.pieceAfter(off + n)
	rd.cursor = 0
	rd.swarm, rd.rateAt = p.peers.rate(p.pieces.PieceOf(off)), p.now
	p.readers.reserve.dirty, p.wake = true, true
}

// PrefetchUrgent tells that a reader goes through a range and has asked for the first of its bytes alone: all are as urgent as a
// blocked read, and ReadDone follows when all are verified, but nothing is learned from them. As a hint they belong to an ID that
// no reader has, which is used once until it is closed.
func (p *Picker) PrefetchUrgent(now time.Duration, id ReaderID, r metainfo.ByteRange) ReadID {
	p.clock(now)
	rd := p.readers.get(id)
	rd.hint, rd.window, rd.end = true, 0, 0
	return p.admit(rd, r)
}
