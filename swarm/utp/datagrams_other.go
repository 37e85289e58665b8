//go:build !linux

package utp

import "net"

func newUDP(c *net.UDPConn) datagrams {
	d := newUDPConn(c)
	return &d
}
