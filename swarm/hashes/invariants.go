package hashes

import (
	"fmt"

	"torrentfs/metainfo"
)

// CheckInvariants reports the first contradiction in the Asker's state, for tests.
func (k *Asker) CheckInvariants() error {
	n := 0
	for _, p := range k.peers {
		if p == nil {
			continue
		}
		n++
		if k.byID[p.id] != p {
			return fmt.Errorf("peer %d is not found by its number", p.id)
		}
		for i := range p.asks {
			if err := k.checkAsk(&p.asks[i]); err != nil {
				return fmt.Errorf("peer %d, request %+v: %w", p.id, p.asks[i].HashRange, err)
			}
		}
	}
	if n != len(k.byID) {
		return fmt.Errorf("%d peers are connected, %d have numbers", n, len(k.byID))
	}
	for piece, l := range k.pieces {
		if k.facts.Held(piece) {
			continue // answers are of no use any more
		}
		for i := range l.file.Leaves(piece) {
			b := metainfo.Block{Piece: piece, Index: i}
			if l.asked.Has(i) && !l.known.Has(i) && !l.whole && k.checking[piece] == 0 && !k.anyAsked(b) {
				return fmt.Errorf("the leaf of block %+v counts as asked for, and nobody is asked", b)
			}
		}
	}
	return nil
}

func (k *Asker) checkAsk(a *ask) error {
	switch {
	case a.state <= gone || a.state >= numStates:
		return fmt.Errorf("state %v is kept", a.state)
	case (a.state == layer) != (a.piece == noPiece):
		return fmt.Errorf("state %v of piece %d", a.state, a.piece)
	case a.state == held && k.due > a.due:
		return fmt.Errorf("it is held until %v, the next deadline is %v", a.due, k.due)
	case !a.Valid():
		return fmt.Errorf("not a valid range")
	}
	return nil
}
