package picker

import (
	"fmt"

	"torrentfs/metainfo"
)

// CheckInvariants reports the first contradiction in the picker's state, for tests and simulations: it walks over all of it.
// What must hold: no peer owes more than its request limit, nor one block twice, nor a piece that it lacks; every block is exactly
// one of held, requested from 1 to 3 peers, or free; a blocked read waits for something; the counts and lists agree with what they
// count.
func (p *Picker) CheckInvariants() error {
	holders := map[blockID]int{}
	if err := p.peers.check(&p.pieces, holders); err != nil {
		return err
	}
	if err := p.pieces.check(&p.peers, holders); err != nil {
		return err
	}
	if err := p.readers.check(&p.pieces); err != nil {
		return err
	}
	if p.hedges.tokens > hedgeBurst || p.plan.unissued < 0 {
		return fmt.Errorf("%v blocks may be hedged, %d urgent ones are unbound", p.hedges.tokens, p.plan.unissued)
	}
	return nil
}

// check checks the peers and counts their requests in holders.
func (all *peers) check(ps *pieces, holders map[blockID]int) error {
	var inflight, resting, suspects int
	for i, pr := range all.list {
		if int(pr.live) != i || all.table.get(pr.id) != pr {
			return fmt.Errorf("peer %d: not where its table says", pr.id)
		}
		if err := pr.check(ps, holders); err != nil {
			return fmt.Errorf("peer %d: %w", pr.id, err)
		}
		inflight += pr.ring.n
		for _, r := range pr.rests {
			if r.on {
				resting++
			}
		}
		if pr.suspect {
			suspects++
		}
	}
	if inflight != all.inflight || resting != all.resting || suspects != all.suspects {
		return fmt.Errorf("%d requests in flight, %d pieces at rest, %d suspects; counted %d, %d, %d",
			inflight, resting, suspects, all.inflight, all.resting, all.suspects)
	}
	return nil
}

// check checks a peer and counts its requests in holders.
func (pr *peer) check(ps *pieces, holders map[blockID]int) error {
	if pr.ring.n > pr.reqq {
		return fmt.Errorf("%d requests, limit %d", pr.ring.n, pr.reqq)
	}
	seen := map[blockID]bool{}
	cancelled := 0
	for i := range pr.ring.n {
		x := pr.ring.at(i)
		if seen[x.block] {
			return fmt.Errorf("block %d requested twice", x.block)
		}
		seen[x.block] = true
		piece, _ := ps.split(x.block)
		switch {
		case !x.live():
			cancelled++
			continue
		case !pr.has(piece):
			return fmt.Errorf("block %d of a piece that it lacks", x.block)
		case ps.held(piece):
			return fmt.Errorf("block %d of a piece that is held", x.block)
		}
		holders[x.block]++
	}
	if cancelled != pr.cancelled {
		return fmt.Errorf("%d cancelled requests, %d counted", cancelled, pr.cancelled)
	}
	missing := 0
	for piece := range ps.NumPieces() {
		if pr.has(piece) && !ps.held(piece) {
			missing++
		}
	}
	if !pr.seed && missing != pr.missing || pr.interested != (missing > 0) {
		return fmt.Errorf("has %d missing pieces, %d counted, interested %v", missing, pr.missing, pr.interested)
	}
	return nil
}

// check checks the pieces against the requests of all peers, which it takes out of holders.
func (ps *pieces) check(all *peers, holders map[blockID]int) error {
	started := 0
	for i, s := range ps.state {
		piece := metainfo.Piece(i)
		if s >= 0 {
			started++
			if err := ps.checkPartial(ps.parts[s], piece, holders); err != nil {
				return fmt.Errorf("piece %d: %w", piece, err)
			}
		}
		if err := ps.checkPlace(piece, s, all); err != nil {
			return fmt.Errorf("piece %d: %w", piece, err)
		}
	}
	switch {
	case started != ps.started || started+len(ps.freeParts) != len(ps.parts):
		return fmt.Errorf("%d started pieces, %d counted; %d of %d partials are free", started, ps.started, len(ps.freeParts), len(ps.parts))
	case len(holders) > 0:
		return fmt.Errorf("requests for blocks of pieces that are not started: %v", holders)
	case ps.heldSet.Count() != ps.nheld:
		return fmt.Errorf("%d pieces held, %d counted", ps.heldSet.Count(), ps.nheld)
	}
	for i, pt := range ps.open {
		if int(pt.open) != i || pt.free == 0 || !ps.want.Has(pt.piece) {
			return fmt.Errorf("piece %d: listed as open", pt.piece)
		}
	}
	return nil
}

func (ps *pieces) checkPartial(pt *partial, piece metainfo.Piece, holders map[blockID]int) error {
	if pt.piece != piece {
		return fmt.Errorf("is taken for piece %d", pt.piece)
	}
	var free, left, live int32
	for b := range int(pt.blocks) {
		id := ps.id(piece, b)
		n := pt.holders(b)
		if n != holders[id] {
			return fmt.Errorf("block %d: %d requests, %d marked", b, holders[id], n)
		}
		delete(holders, id)
		live += int32(n)
		switch {
		case pt.have.Has(b) && n > 0:
			return fmt.Errorf("block %d: held and requested", b)
		case pt.have.Has(b):
		case n == 0:
			free++
			left++
		default:
			left++
		}
	}
	if free != pt.free || left != pt.left || live != pt.live {
		return fmt.Errorf("free %d, left %d, live %d; counted %d, %d, %d", free, left, live, pt.free, pt.left, pt.live)
	}
	if (pt.open >= 0) != (free > 0 && ps.want.Has(piece)) {
		return fmt.Errorf("open %d with %d free blocks, wanted %v", pt.open, free, ps.want.Has(piece))
	}
	if live == 0 && left == pt.blocks-pt.zeros {
		return fmt.Errorf("is started without cause")
	}
	return nil
}

// checkPlace checks a piece's place in the rarest-first order.
func (ps *pieces) checkPlace(piece metainfo.Piece, s int32, all *peers) error {
	r := &ps.fresh
	i := r.place[piece]
	if want := s == stateFresh && ps.want.Has(piece); want != (i != notFresh) || want != r.member.Has(piece) {
		return fmt.Errorf("state %d, wanted %v, place %d", s, ps.want.Has(piece), int32(i))
	}
	_, failed := ps.failed[piece]
	switch held := ps.held(piece); {
	case held != ps.heldSet.Has(piece):
		return fmt.Errorf("held in one place only")
	case held && failed, held && ps.whole != nil && ps.whole.Has(piece):
		return fmt.Errorf("held, and yet to be fetched anew or as a whole")
	}
	a := uint16(0)
	for _, pr := range all.list {
		if !pr.seed && pr.have.Has(piece) {
			a++
		}
	}
	if a != r.avail[piece] {
		return fmt.Errorf("available at %d peers, %d counted", a, r.avail[piece])
	}
	if i != notFresh && (r.order[i] != uint32(piece) || i < r.bound[a] || i >= r.bound[a+1]) {
		return fmt.Errorf("place %d outside its group", i)
	}
	return nil
}

// check checks that blocked reads wait for something, and that no free block of a window lies before its cursor.
func (rs *readers) check(ps *pieces) error {
	blocked := map[*reader]int{}
	for _, r := range rs.blocked {
		if blocked[r.reader]++; r.piece > r.last || ps.held(r.piece) {
			return fmt.Errorf("read %d waits for piece %d of up to %d, which is held", r.id, r.piece, r.last)
		}
	}
	for _, rd := range rs.list {
		if rd.blocked != blocked[rd] {
			return fmt.Errorf("reader %d: %d blocked reads, %d counted", rd.id, blocked[rd], rd.blocked)
		}
		delete(blocked, rd)
		for piece := ps.PieceOf(min(rd.pos, ps.Size()-1)); piece < min(rd.cursor, rd.end); piece++ {
			if ps.hasFree(piece) {
				return fmt.Errorf("reader %d: piece %d before its cursor %d has free blocks", rd.id, piece, rd.cursor)
			}
		}
	}
	if len(blocked) > 0 {
		return fmt.Errorf("reads of readers that are closed")
	}
	for i, x := range rs.reserve.all {
		if x.lo >= x.hi || i > 0 && x.lo <= rs.reserve.all[i-1].hi {
			return fmt.Errorf("reserved pieces are not in order: %v", rs.reserve.all)
		}
	}
	return nil
}
