package picker

import "time"

// WillNeed tells that n bytes at off will probably be read soon: they are fetched as read-ahead is, behind what readers are
// blocked on and before the background. A hint belongs to an ID that no reader has, holds until ReaderClose of that ID, and
// replaces the ID's last one. It is no read: nothing is learned from it.
func (p *Picker) WillNeed(now time.Duration, id ReaderID, off, n int64) {
	p.clock(now)
	off = min(max(off, 0), p.g.Size)
	n = min(max(n, 0), p.g.Size-off, p.cfg.ReadAheadMax)
	if n == 0 {
		return
	}
	piece := p.g.PieceLength
	rd := p.reader(id)
	rd.hint, rd.pos, rd.window = true, off, n
	rd.end = min(int((off+n+piece-1)/piece), p.g.NumPieces)
	rd.cursor = 0
	rd.swarm, rd.rateAt = p.holdersRate(int(off/piece)), p.now
	p.reserve.dirty, p.wake = true, true
}

// Expect tells that a reader goes through n bytes at off and has asked for the first of them alone: they are as urgent as a
// blocked read, and ReadDone follows when all are verified, but nothing is learned from them. As a hint they belong to an ID that
// no reader has, which is used once until it is closed.
func (p *Picker) Expect(now time.Duration, id ReaderID, off, n int64) ReadID {
	p.clock(now)
	rd := p.reader(id)
	rd.hint, rd.window, rd.end = true, 0, 0
	return p.admit(rd, off, n)
}
