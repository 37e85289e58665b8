//go:build !linux

package fs

func stackDepth(Options) int { return 0 } // only Linux has passthrough
