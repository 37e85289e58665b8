package picker

import (
	"math"

	"torrentfs/metainfo"
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

// learnSpeed takes n bytes, read in the time since the last read that the reader was not blocked: a harmonic mean by bytes.
func (rd *reader) learnSpeed(now float64, n int64) {
	idle := rd.blockedFor
	if rd.blocked > 0 {
		idle += now - max(rd.blockedAt, rd.lastAt)
	}
	dt := max(now-rd.lastAt-idle, 1e-6)
	a := 1 - math.Exp(-float64(n)/speedMemory)
	rd.speed = 1 / ((1-a)/rd.speed + a*dt/float64(n))
	rd.lastAt, rd.blockedFor = now, 0
	rd.blockedAt = max(rd.blockedAt, now)
}

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

// advance moves a read over what is verified and reports whether it is served.
func (r *read) advance(ps *pieces) bool {
	for ; r.piece <= r.last; r.piece, r.block = r.piece+1, 0 {
		if ps.held(r.piece) {
			continue
		}
		if !ps.leaves {
			return false
		}
		pt := ps.part(r.piece)
		_, end := r.ownBlocks(ps, r.piece, ps.NumBlocks(r.piece))
		for ; r.block < end; r.block++ {
			if pt != nil && !pt.leaf.Has(r.block) || pt == nil && !ps.virtual(r.piece, r.block) {
				return false
			}
		}
	}
	return true
}

// blocks returns the blocks of a piece that a read needs: its own where blocks verify one by one, else all.
func (r *read) blocks(ps *pieces, piece metainfo.Piece, blocks int) (from, end int) {
	if !ps.byLeaves(piece) {
		return 0, blocks
	}
	return r.ownBlocks(ps, piece, blocks)
}

// ownBlocks returns the blocks of a piece that a read covers and that it is not known to have.
func (r *read) ownBlocks(ps *pieces, piece metainfo.Piece, blocks int) (from, end int) {
	if piece == r.piece {
		from = r.block
	}
	end = blocks
	if piece == r.last {
		at := int64(piece) * ps.PieceLength()
		end = min(blocks, int((r.end-at+BlockSize-1)/BlockSize))
	}
	return from, end
}

// readers is who reads, what they wait for, and the pieces that are theirs.
type readers struct {
	list      []*reader
	blocked   []*read
	last      ReadID  // that was given
	at        float64 // when one read last
	readAhead int64   // most bytes of it, for all readers together
	reserve   reserve
}

// get returns a reader, which is new if its ID is.
func (rs *readers) get(id ReaderID) *reader {
	for _, rd := range rs.list {
		if rd.id == id {
			return rd
		}
	}
	rd := &reader{id: id, speed: priorSpeed}
	rs.list = append(rs.list, rd)
	return rd
}

// sequential counts the readers that read ahead.
func (rs *readers) sequential() int {
	n := 0
	for _, rd := range rs.list {
		if rd.run >= sequentialRun {
			n++
		}
	}
	return n
}

// rewind has the readers look again at a piece that got free blocks.
func (rs *readers) rewind(piece metainfo.Piece) {
	for _, rd := range rs.list {
		if piece < rd.cursor {
			rd.cursor = piece
		}
	}
}

// rewindReads has reads that have passed a piece wait for it again.
func (rs *readers) rewindReads(ps *pieces, piece metainfo.Piece) {
	for _, r := range rs.blocked {
		if first := ps.PieceOf(r.off); piece >= first && piece <= r.piece {
			r.piece, r.block = piece, 0
			if piece == first {
				r.block = int(r.off % ps.PieceLength() / BlockSize)
			}
			rs.reserve.dirty = true
		}
	}
}

// awaited reports whether a blocked read needs a block.
func (rs *readers) awaited(ps *pieces, piece metainfo.Piece, block int) bool {
	for _, r := range rs.blocked {
		if piece < r.piece || piece > r.last {
			continue
		}
		from, end := r.blocks(ps, piece, ps.NumBlocks(piece))
		if block >= from && block < end {
			return true
		}
	}
	return false
}

// resize computes the read-ahead window.
func (rs *readers) resize(rd *reader, now float64, ps *pieces, all *peers) {
	old := rd.end
	rd.window, rd.end = 0, 0
	if rd.run >= sequentialRun && rs.readAhead > 0 {
		piece := ps.PieceLength()
		if rd.swarm == 0 || now-rd.rateAt > 0.05 {
			rd.swarm, rd.rateAt = all.rate(ps.PieceOf(min(rd.pos, ps.Size()-1))), now
		}
		w := int64(min(rd.speed, 1.2*rd.swarm) * readAheadTime)
		w = max(w, readAheadMin)
		least := int64(BlockSize)
		if !ps.leaves {
			w, least = max(w, 2*piece), piece
		}
		w = max(min(w, readAheadRamp*rd.run), least)
		rd.window = min(w, rs.readAhead/int64(max(1, rs.sequential())))
	}
	if rd.window > 0 {
		rd.end = ps.pieceAfter(rd.pos + rd.window)
	}
	if rd.end != old {
		rs.reserve.dirty = true
	}
}
