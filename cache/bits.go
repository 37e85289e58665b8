package cache

import "sync/atomic"

// bitset is a set of pieces, LSB first: piece i is bit i%64 of word i/64.
type bitset []uint64

func newBitset(n int) bitset { return make(bitset, (n+63)/64) }

func (b bitset) has(i int) bool { return b[i/64]&(1<<(i%64)) != 0 }
func (b bitset) set(i int)      { b[i/64] |= 1 << (i % 64) }
func (b bitset) clear(i int)    { b[i/64] &^= 1 << (i % 64) }
func (b bitset) clone() bitset  { return append(bitset(nil), b...) }

// equal compares sets of one size; nil is an empty one.
func (b bitset) equal(c bitset) bool {
	if b == nil {
		b, c = c, b
	}
	for i, w := range b {
		if c == nil && w != 0 || c != nil && c[i] != w {
			return false
		}
	}
	return true
}

// sharedBits is a bitset that is read without a lock.
type sharedBits []atomic.Uint64

func newSharedBits(n int) sharedBits { return make(sharedBits, (n+63)/64) }

func (b sharedBits) has(i int) bool { return b[i/64].Load()&(1<<(i%64)) != 0 }
func (b sharedBits) set(i int)      { b[i/64].Or(1 << (i % 64)) }
func (b sharedBits) clear(i int)    { b[i/64].And(^uint64(1 << (i % 64))) }

func (b sharedBits) load(from bitset) {
	for i, w := range from {
		b[i].Store(w)
	}
}
