package egress

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"strconv"
)

// RelayOverhead is what a datagram takes on its way to the proxy beside its
// payload and the headers of UDP and IP, at most, if it is for an address.
const RelayOverhead = 22

// NameAddr is a host that the proxy is to look up, as an address that a [Relay]
// sends to.
type NameAddr struct {
	Host string
	Port uint16
}

// Network implements net.Addr.
func (NameAddr) Network() string { return "udp" }

// String implements net.Addr: "host:port".
func (a NameAddr) String() string { return net.JoinHostPort(a.Host, strconv.Itoa(int(a.Port))) }

// appendDatagram appends the header of a datagram for the proxy (RFC 1928, section 7).
func appendDatagram(b []byte, to net.Addr) ([]byte, error) {
	b = append(b, 0, 0, 0) // two reserved, and not a fragment
	switch a := to.(type) {
	case interface{ AddrPort() netip.AddrPort }:
		if to := a.AddrPort(); to.IsValid() {
			return appendAddrPort(b, to), nil
		}
	case NameAddr:
		return appendTarget(b, a.String())
	}
	return nil, fmt.Errorf("no address for a datagram: %v", to)
}

// parseDatagram takes the header off a datagram from the proxy, and returns where the proxy got it:
// an *net.UDPAddr, or a NameAddr from a proxy that repeats what it was given. Fragments are
// refused, as RFC 1928 allows; no proxy sends them.
func parseDatagram(b []byte) (payload []byte, from net.Addr, err error) {
	if len(b) < 4 {
		return nil, nil, fmt.Errorf("datagram of %d bytes from the proxy", len(b))
	}
	if b[2] != 0 {
		return nil, nil, fmt.Errorf("fragment %d from the proxy", b[2])
	}
	r := bytes.NewReader(b[3:])
	addr, name, err := readAddress(r)
	switch {
	case err != nil:
		return nil, nil, err
	case addr.IsValid():
		from = net.UDPAddrFromAddrPort(addr)
	default:
		from = name
	}
	return b[len(b)-r.Len():], from, nil
}
