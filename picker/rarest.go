package picker

import (
	"math/bits"
	"math/rand/v2"

	"torrentfs/internal/bitset"
	"torrentfs/metainfo"
)

// notFresh is the place of a piece that the order does not hold.
const notFresh = ^uint32(0)

// rarest is the fresh pieces (wanted, not held, not started), grouped by availability: order[bound[a]:bound[a+1]] are those
// that a peers have, seeds not counted. Within a group the order is random, so that clients of one swarm fetch different pieces. A HAVE is one
// swap and one bound moved. Pieces leave and come at the rare end, where the picks are.
type rarest struct {
	avail  []uint16 // peers other than seeds that have the piece, for every piece
	order  []uint32
	place  []uint32   // of a piece in order, or notFresh
	bound  []uint32   // at least one more than the groups
	member bitset.Set // which pieces the order holds
	gen    uint32     // changes when a piece comes
}

func (r *rarest) init(pieces int) {
	r.avail = make([]uint16, pieces)
	r.order = make([]uint32, pieces)
	r.place = make([]uint32, pieces)
	r.member = bitset.New(pieces)
	r.bound = []uint32{uint32(pieces), uint32(pieces)}
	for i := range r.place {
		r.place[i] = notFresh
	}
}

// rebuild makes the pieces for which keep holds the fresh ones, in random order within each group.
func (r *rarest) rebuild(rng *rand.Rand, keep func(piece metainfo.Piece) bool) {
	top := uint16(0)
	for _, a := range r.avail {
		top = max(top, a)
	}
	count := make([]uint32, int(top)+2)
	clear(r.member)
	n := 0
	for i := range r.place {
		r.place[i] = notFresh
		if keep(i) {
			r.member.Set(i)
			count[r.avail[i]]++
			n++
		}
	}
	// The free places are at the front, where insert takes them.
	at := uint32(len(r.order) - n)
	r.bound = r.bound[:0]
	for _, c := range count {
		r.bound = append(r.bound, at)
		at += c
	}
	next := append([]uint32(nil), r.bound...)
	for w, word := range r.member {
		for ; word != 0; word &= word - 1 {
			piece := w<<6 + bits.TrailingZeros64(word)
			a := r.avail[piece]
			r.put(uint32(piece), next[a])
			next[a]++
		}
	}
	for a := 0; a+1 < len(r.bound); a++ {
		lo, n := r.bound[a], int(r.bound[a+1]-r.bound[a])
		rng.Shuffle(n, func(i, j int) { r.swap(lo+uint32(i), lo+uint32(j)) })
	}
	r.gen++
}

func (r *rarest) put(piece, at uint32) { r.order[at], r.place[piece] = piece, at }

func (r *rarest) swap(i, j uint32) {
	a, b := r.order[i], r.order[j]
	r.put(b, i)
	r.put(a, j)
}

func (r *rarest) grow(a int) {
	for len(r.bound) < a+2 {
		r.bound = append(r.bound, uint32(len(r.order)))
	}
}

// more counts one more peer that has the piece.
func (r *rarest) more(piece metainfo.Piece) {
	a := int(r.avail[piece])
	r.avail[piece]++
	r.grow(a + 1)
	if i := r.place[piece]; i != notFresh {
		r.bound[a+1]--
		r.swap(i, r.bound[a+1])
	}
}

// less counts one peer less that has the piece.
func (r *rarest) less(piece metainfo.Piece) {
	a := int(r.avail[piece])
	r.avail[piece]--
	if i := r.place[piece]; i != notFresh {
		r.swap(i, r.bound[a])
		r.bound[a]++
	}
}

// remove takes a piece out: one swap in each group up to its own.
func (r *rarest) remove(piece metainfo.Piece) {
	i := r.place[piece]
	if i == notFresh {
		return
	}
	for a := int(r.avail[piece]); a >= 0; a-- {
		first := r.bound[a]
		if first != i {
			r.swap(i, first)
			i = first
		}
		r.bound[a]++
	}
	r.place[piece] = notFresh
	r.member.Clear(piece)
}

// insert puts a piece back.
func (r *rarest) insert(piece metainfo.Piece) {
	if r.place[piece] != notFresh {
		return
	}
	a := int(r.avail[piece])
	r.grow(a)
	r.bound[0]--
	i := r.bound[0]
	r.put(uint32(piece), i)
	for g := 1; g <= a; g++ {
		r.bound[g]--
		if last := r.bound[g]; last != i {
			r.swap(i, last)
			i = last
		}
	}
	r.member.Set(piece)
	r.gen++
}

func (r *rarest) len() int { return len(r.order) - int(r.bound[0]) }

// pick returns the rarest fresh piece that have holds and ok allows, or -1. It looks at the head of the order, and where that
// does not answer, at the set of pieces that both sides have, from a random place on.
func (r *rarest) pick(have bitset.Set, all bool, start int, ok func(piece metainfo.Piece) bool) int {
	const head = 128
	lo := int(r.bound[0])
	for i := lo; i < len(r.order) && i < lo+head; i++ {
		if piece := int(r.order[i]); (all || have.Has(piece)) && ok(piece) {
			return piece
		}
	}
	if len(r.order)-lo <= head {
		return -1
	}
	best, seen := -1, 0
	for k := range r.member {
		w := start + k
		if w >= len(r.member) {
			w -= len(r.member)
		}
		word := r.member[w]
		if !all {
			word &= have[w]
		}
		for ; word != 0; word &= word - 1 {
			piece := w<<6 + bits.TrailingZeros64(word)
			if !ok(piece) {
				continue
			}
			if best < 0 || r.avail[piece] < r.avail[best] {
				best = piece
			}
			if seen++; seen >= 16 {
				return best
			}
		}
	}
	return best
}
