package cache

import (
	"sync/atomic"

	"torrentfs/internal/bitset"
)

// sharedBits is a bitset that is read without a lock.
type sharedBits []atomic.Uint64

func newSharedBits(n int) sharedBits { return make(sharedBits, bitset.Words(n)) }

func (b sharedBits) has(i int) bool { return b[i/64].Load()&(1<<(i%64)) != 0 }
func (b sharedBits) set(i int)      { b[i/64].Or(1 << (i % 64)) }
func (b sharedBits) clear(i int)    { b[i/64].And(^uint64(1 << (i % 64))) }
