package bitset

import (
	"math/bits"
	"slices"
)

// Set is a set of the integers in [0, 64·len). Element i is bit i%64 of word i/64. A nil Set is
// empty and of size 0.
type Set []uint64

// Words returns how many words a Set of n elements has.
func Words(n int) int { return (n + 63) / 64 }

// New returns an empty set with room for [0, n).
func New(n int) Set { return make(Set, Words(n)) }

// Has reports whether i is in the set.
func (s Set) Has(i int) bool { return s[i>>6]&(1<<(uint(i)&63)) != 0 }

// Set adds i and reports whether it was missing.
func (s Set) Set(i int) bool {
	w, m := &s[i>>6], uint64(1)<<(uint(i)&63)
	missing := *w&m == 0
	*w |= m
	return missing
}

// Clear removes i and reports whether it was there.
func (s Set) Clear(i int) bool {
	w, m := &s[i>>6], uint64(1)<<(uint(i)&63)
	there := *w&m != 0
	*w &^= m
	return there
}

// SetRange adds all of [lo, hi).
func (s Set) SetRange(lo, hi int) {
	for lo < hi {
		w, end := lo>>6, min(hi, lo|63+1)
		mask := ^uint64(0) << (uint(lo) & 63)
		if rest := uint(end - w<<6); rest < 64 {
			mask &= 1<<rest - 1
		}
		s[w] |= mask
		lo = end
	}
}

// Count returns how many elements the set has.
func (s Set) Count() (n int) {
	for _, w := range s {
		n += bits.OnesCount64(w)
	}
	return n
}

// Empty reports whether the set has no element.
func (s Set) Empty() bool { return s.Next(0) < 0 }

// Next returns the first element at or after i, or -1.
func (s Set) Next(i int) int {
	for w := i >> 6; w < len(s); w++ {
		x := s[w]
		if w == i>>6 {
			x &= ^uint64(0) << (uint(i) & 63)
		}
		if x != 0 {
			return w<<6 + bits.TrailingZeros64(x)
		}
	}
	return -1
}

// Clone returns a copy of the set.
func (s Set) Clone() Set { return slices.Clone(s) }

// Equal reports whether two sets have the same elements; their sizes may differ.
func (s Set) Equal(o Set) bool {
	if len(s) < len(o) {
		s, o = o, s
	}
	return slices.Equal(s[:len(o)], o) && s[len(o):].Count() == 0
}
