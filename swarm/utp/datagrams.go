package utp

import (
	"net"
	"net/netip"

	"torrentfs/net/pktinfo"
)

// datagrams is the socket below ours.
type datagrams interface {
	// receive waits for one datagram or more, and passes each of them to f, which
	// does not keep it. One goroutine receives.
	receive(f func(b []byte, on route)) error
	// send sends the packets that b consists of along one path. One goroutine sends.
	send(b []byte, sizes []int, on route) error
	// answer sends one packet; it is the receiver's.
	answer(b []byte, on route) error
	localAddr() net.Addr
	close()
}

// route is between two addresses. Ours is that which the peer sent to, since it takes answers from
// no other one; it is invalid if the system does not tell, or the peer was not heard yet: then the
// system chooses.
type route struct {
	peer netip.AddrPort
	ours netip.Addr
}

// maxUDP is larger than any datagram, and than any that were received as one.
const maxUDP = 1 << 16

// newDatagrams returns the best there is for pc.
func newDatagrams(pc net.PacketConn) datagrams {
	if udp, ok := pc.(*net.UDPConn); ok {
		// Room for a window, if the system allows it: else packets of a burst would be lost.
		_ = udp.SetReadBuffer(2 << 20)
		_ = udp.SetWriteBuffer(2 << 20)
		return newUDP(udp)
	}
	if r, ok := pc.(rebinding); ok {
		return newRebinding(r)
	}
	return &plainConn{pc: pc, buf: make([]byte, maxUDP)}
}

// plainConn is any net.PacketConn, one call for each packet.
type plainConn struct {
	pc  net.PacketConn
	buf []byte
}

func (d *plainConn) localAddr() net.Addr { return d.pc.LocalAddr() }
func (d *plainConn) close()              { _ = d.pc.Close() }

func (d *plainConn) receive(f func(b []byte, on route)) error {
	n, addr, err := d.pc.ReadFrom(d.buf)
	if err != nil {
		return err
	}
	if from, ok := addrPort(addr); ok {
		f(d.buf[:n], route{peer: from})
	}
	return nil
}

func (d *plainConn) answer(b []byte, on route) error { return d.send(b, []int{len(b)}, on) }

func (d *plainConn) send(b []byte, sizes []int, on route) error {
	addr := net.UDPAddrFromAddrPort(on.peer)
	for _, n := range sizes {
		if _, err := d.pc.WriteTo(b[:n], addr); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

func addrPort(addr net.Addr) (netip.AddrPort, bool) {
	if udp, ok := addr.(*net.UDPAddr); ok {
		return unmap(udp.AddrPort()), true
	}
	ap, err := netip.ParseAddrPort(addr.String())
	return unmap(ap), err == nil
}

// unmap gives an IPv4 address that comes by way of IPv6 one form.
func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// udpConn is a *net.UDPConn: no packet allocates anything.
type udpConn struct {
	*net.UDPConn
	buf          []byte
	oob, replied []byte // control messages of what came, and of answers; the receiver's
	sent         []byte // likewise of packets; the sender's
}

func newUDPConn(c *net.UDPConn) udpConn {
	pktinfo.Note(c)
	return udpConn{
		UDPConn: c, buf: make([]byte, maxUDP), oob: make([]byte, controlSize),
		replied: make([]byte, 0, controlSize), sent: make([]byte, 0, controlSize),
	}
}

// controlSize is the room for control messages, those of one datagram.
const controlSize = 2 * pktinfo.Size

func (d *udpConn) localAddr() net.Addr { return d.LocalAddr() }
func (d *udpConn) close()              { _ = d.Close() }

func (d *udpConn) receive(f func(b []byte, on route)) error {
	n, oobn, _, from, err := d.ReadMsgUDPAddrPort(d.buf, d.oob)
	if err != nil {
		return err
	}
	f(d.buf[:n], route{unmap(from), pktinfo.Arrival(d.oob[:oobn])})
	return nil
}

func (d *udpConn) send(b []byte, sizes []int, on route) error {
	d.sent = pktinfo.AppendSource(d.sent[:0], on.ours)
	for _, n := range sizes {
		if err := d.write(b[:n], d.sent, on); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

func (d *udpConn) answer(b []byte, on route) error {
	d.replied = pktinfo.AppendSource(d.replied[:0], on.ours)
	return d.write(b, d.replied, on)
}

func (d *udpConn) write(b, oob []byte, on route) error {
	_, _, err := d.WriteMsgUDPAddrPort(b, oob, on.peer)
	return err
}
