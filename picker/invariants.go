package picker

import (
	"fmt"

	"torrentfs/metainfo"
)

// CheckInvariants reports the first contradiction in the picker's state, for tests and simulations: it walks over all of it.
// What must hold: no peer owes more than its request limit, nor one block twice, nor a piece that it lacks; every block is exactly
// one of held, requested from 1 to 3 peers, or free; the counts and lists agree with what they count.
func (p *Picker) CheckInvariants() error {
	holders := map[blockID]int{}
	inflight, resting := 0, 0
	for i, pr := range p.peers {
		if int(pr.live) != i || p.table.get(pr.id) != pr {
			return fmt.Errorf("peer %d: not where its table says", pr.id)
		}
		if err := p.checkPeer(pr, holders); err != nil {
			return fmt.Errorf("peer %d: %w", pr.id, err)
		}
		inflight += pr.ring.n
		for _, r := range pr.rests {
			if r.on {
				resting++
			}
		}
	}
	if resting != p.resting {
		return fmt.Errorf("%d pieces rest at a peer, %d counted", resting, p.resting)
	}
	if inflight != p.inflight {
		return fmt.Errorf("%d requests in flight, %d counted", inflight, p.inflight)
	}
	nparts := 0
	for piece, s := range p.state {
		if s >= 0 {
			nparts++
			if err := p.checkPartial(p.parts[s], piece, holders); err != nil {
				return fmt.Errorf("piece %d: %w", piece, err)
			}
		}
		if err := p.checkPlace(piece, s); err != nil {
			return fmt.Errorf("piece %d: %w", piece, err)
		}
	}
	if nparts != p.nparts {
		return fmt.Errorf("%d started pieces, %d counted", nparts, p.nparts)
	}
	if len(holders) > 0 {
		return fmt.Errorf("requests for blocks of pieces that are not started: %v", holders)
	}
	for i, pt := range p.open {
		if int(pt.open) != i || pt.free == 0 || !p.want.Has(pt.piece) {
			return fmt.Errorf("piece %d: listed as open", pt.piece)
		}
	}
	return nil
}

func (p *Picker) checkPeer(pr *peer, holders map[blockID]int) error {
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
		piece, _ := p.g.split(x.block)
		switch {
		case !x.live():
			cancelled++
			continue
		case !pr.has(piece):
			return fmt.Errorf("block %d of a piece that it lacks", x.block)
		case p.held(piece):
			return fmt.Errorf("block %d of a piece that is held", x.block)
		}
		holders[x.block]++
	}
	if cancelled != pr.cancelled {
		return fmt.Errorf("%d cancelled requests, %d counted", cancelled, pr.cancelled)
	}
	missing := 0
	for piece := range p.g.NumPieces() {
		if pr.has(piece) && !p.held(piece) {
			missing++
		}
	}
	if !pr.seed && missing != pr.missing || pr.interested != (missing > 0) {
		return fmt.Errorf("has %d missing pieces, %d counted, interested %v", missing, pr.missing, pr.interested)
	}
	return nil
}

func (p *Picker) checkPartial(pt *partial, piece metainfo.Piece, holders map[blockID]int) error {
	if pt.piece != piece {
		return fmt.Errorf("is taken for piece %d", pt.piece)
	}
	var free, left, live int32
	for b := range int(pt.blocks) {
		id := p.g.id(piece, b)
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
	if (pt.open >= 0) != (free > 0 && p.want.Has(piece)) {
		return fmt.Errorf("open %d with %d free blocks, wanted %v", pt.open, free, p.want.Has(piece))
	}
	if live == 0 && left == pt.blocks-pt.zeros {
		return fmt.Errorf("is started without cause")
	}
	return nil
}

// checkPlace checks a piece's place in the rarest-first order.
func (p *Picker) checkPlace(piece metainfo.Piece, s int32) error {
	r := &p.fresh
	i := r.place[piece]
	if want := s == stateFresh && p.want.Has(piece); want != (i != notFresh) || want != r.member.Has(piece) {
		return fmt.Errorf("state %d, wanted %v, place %d", s, p.want.Has(piece), int32(i))
	}
	if p.held(piece) != p.heldSet.Has(piece) {
		return fmt.Errorf("held in one place only")
	}
	a := uint16(0)
	for _, pr := range p.peers {
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
