package main

import (
	"os"
	"runtime/debug"
)

// gcPercent is how much garbage may lie beside what is alive. Nearly all of
// the heap are blocks without pointers, which cost the collector next to
// nothing to mark; Go's default of 100 would double the memory for no gain.
const gcPercent = 20

// minMemoryLimit is the least that --memory-limit takes: below it the collector
// would do nothing but run.
const minMemoryLimit = 48 << 20

// tuneMemory makes the collector fit the program and the limit, if there is
// one, unless the user said otherwise by Go's own variables.
func tuneMemory(limit int64) {
	if limit > 0 && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(limit)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}

// shares divides the memory limit: a quarter for what is read again, a quarter
// for what is between the swarm and the disk, the rest for all else. Without a
// limit both are what they are by default or by their own flags.
func (p peerFlags) shares() (cacheSize, inFlight int64) {
	cacheSize = int64(p.MemoryCache)
	if p.MemoryLimit == 0 {
		return cacheSize, 0
	}
	quarter := int64(p.MemoryLimit) / 4
	return min(cacheSize, quarter), min(64<<20, quarter)
}
