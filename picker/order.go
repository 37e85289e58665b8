package picker

import (
	"math/bits"

	"torrentfs/internal/bitset"
	"torrentfs/metainfo"
)

// Order is in which order fresh pieces are taken in the background. What reads wait for, and their
// read-ahead, come first in each.
type Order uint8

// The orders.
const (
	RarestFirst Order = iota // pieces that the fewest peers have: best for the swarm
	AsItComes                // any piece that a peer has, from a random place on
	InOrder                  // from the first piece to the last: for who reads along without a Reader
)

func (o Order) String() string { return [...]string{"rarest first", "as it comes", "in order"}[o] }

// next returns the first fresh piece from word start on that have holds and ok allows, or -1.
func (r *rarest) next(have bitset.Set, all bool, start int, ok func(piece metainfo.Piece) bool) int {
	for k := range r.member {
		w := (start + k) % len(r.member)
		word := r.member[w]
		if !all {
			word &= have[w]
		}
		for ; word != 0; word &= word - 1 {
			if piece := w<<6 + bits.TrailingZeros64(word); ok(piece) {
				return piece
			}
		}
	}
	return -1
}
