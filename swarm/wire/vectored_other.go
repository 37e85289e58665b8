//go:build !linux && !darwin

package wire

import "net"

// NewVectoredConn returns c: this system has no vectored read.
func NewVectoredConn(c net.Conn) net.Conn { return c }
