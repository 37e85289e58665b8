//go:build !linux

package pktinfo

import (
	"net"
	"net/netip"
)

// Size is the room that control messages take: there are none here.
const Size = 0

// Note does nothing. These systems can tell the address that a datagram
// came to, each in its own way, and none of that was tried: an answer leaves from
// the address of its route.
func Note(*net.UDPConn) {}

// Arrival is never known.
func Arrival([]byte) netip.Addr { return netip.Addr{} }

// AppendSource appends nothing.
func AppendSource(oob []byte, _ netip.Addr) []byte { return oob }
