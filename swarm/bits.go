package swarm

import (
	"math/bits"
)

// bitfield is a set of pieces: piece i is bit i%64 of word i/64.
type bitfield []uint64

func newBitfield(n int) bitfield { return make(bitfield, (n+63)/64) }

func (b bitfield) has(i int) bool { return b[i>>6]&(1<<(i&63)) != 0 }

// set adds i and says whether it is new.
func (b bitfield) set(i int) bool {
	w, m := &b[i>>6], uint64(1)<<(i&63)
	fresh := *w&m == 0
	*w |= m
	return fresh
}

// clear removes i and says whether it was there.
func (b bitfield) clear(i int) bool {
	w, m := &b[i>>6], uint64(1)<<(i&63)
	had := *w&m != 0
	*w &^= m
	return had
}

// firstBit is the lowest bit of a word that is not zero.
func firstBit(word uint64) int { return bits.TrailingZeros64(word) }

func (b bitfield) count() (n int) {
	for _, w := range b {
		n += bits.OnesCount64(w)
	}
	return n
}

func (b bitfield) fill(n int) {
	for i := range b {
		b[i] = ^uint64(0)
	}
	if r := n & 63; r != 0 {
		b[len(b)-1] = 1<<r - 1
	}
}

// next is the first member at or after i, or -1.
func (b bitfield) next(i int) int {
	for w := i >> 6; w < len(b); w++ {
		x := b[w]
		if w == i>>6 {
			x &= ^uint64(0) << (i & 63)
		}
		if x != 0 {
			return w<<6 + bits.TrailingZeros64(x)
		}
	}
	return -1
}
