//go:build !linux

package utp

import "net"

func newUDP(c *net.UDPConn) datagrams { return &udpConn{UDPConn: c, buf: make([]byte, maxUDP)} }
