package picker

import "math/bits"

// bitset is LSB-first words: element i is bit i%64 of word i/64.
type bitset []uint64

func newBitset(n int) bitset { return make(bitset, (n+63)/64) }

func (s bitset) has(i int) bool { return s[i>>6]&(1<<(uint(i)&63)) != 0 }
func (s bitset) set(i int)      { s[i>>6] |= 1 << (uint(i) & 63) }
func (s bitset) clear(i int)    { s[i>>6] &^= 1 << (uint(i) & 63) }

// setRange sets [lo, hi).
func (s bitset) setRange(lo, hi int) {
	for i := lo; i < hi; {
		if i&63 == 0 && i+64 <= hi {
			s[i>>6] = ^uint64(0)
			i += 64
			continue
		}
		s.set(i)
		i++
	}
}

func (s bitset) count() int {
	n := 0
	for _, w := range s {
		n += bits.OnesCount64(w)
	}
	return n
}
