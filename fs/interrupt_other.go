//go:build !linux

package fs

// fatalSignalPending cannot be known here, so every interrupt ends the read.
func fatalSignalPending(uint32) bool { return true }
