//go:build !linux

package fs

// fatalSignalPending cannot be known here, so every interrupt ends the read.
func fatalSignalPending(uint32) bool { return true }

// threadGone cannot be known here.
func threadGone(uint32) bool { return false }
