package main

import (
	"os"
	"runtime/debug"
)

// gcPercent is how much garbage may lie beside what is alive. Nearly all of
// the heap are blocks without pointers, which cost the collector next to
// nothing to mark; Go's default of 100 would double the memory for no gain.
const gcPercent = 20

// tuneMemory makes the collector fit the program, unless the user said
// otherwise by Go's own variables.
func tuneMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}
