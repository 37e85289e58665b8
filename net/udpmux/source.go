package udpmux

import (
	"errors"
	"net"
	"net/netip"

	"torrentfs/net/pktinfo"
)

// Addr is the sender of a datagram, and which of our addresses it came to: what is sent to it
// leaves from there.
type Addr struct {
	net.UDPAddr
	Ours netip.Addr // invalid: not known
}

// socketOf is the system's socket below pc, the one of the moment if it
// outlives its interface; nil if there is none.
func socketOf(pc net.PacketConn) *net.UDPConn {
	switch c := pc.(type) {
	case *net.UDPConn:
		return c
	case interface{ Socket() *net.UDPConn }:
		return c.Socket()
	}
	return nil
}

// send sends from one of our addresses, as the route has it if ours is invalid.
func send(pc net.PacketConn, b []byte, ours netip.Addr, to net.Addr) (int, error) {
	u, ok := to.(interface{ AddrPort() netip.AddrPort })
	c := socketOf(pc)
	if !ours.IsValid() || !ok || c == nil {
		return pc.WriteTo(b, to)
	}
	n, _, err := c.WriteMsgUDPAddrPort(b, pktinfo.AppendSource(make([]byte, 0, pktinfo.Size), ours), u.AddrPort())
	return n, err
}

// reader reads a socket and reports to which address of ours each datagram came. It is one
// goroutine's.
type reader struct {
	pc  net.PacketConn
	c   *net.UDPConn // that arrivals are noted on
	oob []byte
}

func newReader(pc net.PacketConn) *reader {
	r := &reader{pc: pc, oob: make([]byte, pktinfo.Size)}
	if c := socketOf(pc); c != nil {
		r.use(c)
	}
	return r
}

// use has the system note arrivals from now on: of what is in the queue they stay
// unknown.
func (r *reader) use(c *net.UDPConn) {
	if c != r.c {
		pktinfo.Note(c)
		r.c = c
	}
}

func (r *reader) read(b []byte) (n int, from netip.AddrPort, ours netip.Addr, err error) {
	c := socketOf(r.pc)
	if c == nil {
		n, addr, err := r.pc.ReadFrom(b)
		if u, ok := addr.(interface{ AddrPort() netip.AddrPort }); ok {
			from = u.AddrPort()
		}
		return n, from, netip.Addr{}, err
	}
	r.use(c)
	n, oobn, _, from, err := c.ReadMsgUDPAddrPort(b, r.oob)
	if err == nil {
		return n, from, pktinfo.Arrival(r.oob[:oobn]), nil
	}
	if next, ok := r.pc.(interface {
		SocketAfter(old *net.UDPConn) (*net.UDPConn, error)
	}); ok && errors.Is(err, net.ErrClosed) {
		_, err = next.SocketAfter(c)
		if err == nil {
			return r.read(b)
		}
	}
	return 0, netip.AddrPort{}, netip.Addr{}, err
}
