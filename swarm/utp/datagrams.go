package utp

import (
	"net"
	"net/netip"
)

// datagrams is the socket below ours.
type datagrams interface {
	// receive waits for one datagram or more, and passes each of them to f, which
	// does not keep it. One goroutine receives.
	receive(f func(b []byte, from netip.AddrPort)) error
	// send sends the packets that b consists of to one address. Any goroutine may
	// send one packet, and one goroutine several.
	send(b []byte, sizes []int, to netip.AddrPort) error
	localAddr() net.Addr
	close()
}

// maxUDP is larger than any datagram, and than any that were received as one.
const maxUDP = 1 << 16

// newDatagrams returns the best there is for pc.
func newDatagrams(pc net.PacketConn) datagrams {
	if udp, ok := pc.(*net.UDPConn); ok {
		// Room for a window, where the system allows it: what a flow sends at
		// once would be lost otherwise.
		_ = udp.SetReadBuffer(2 << 20)
		_ = udp.SetWriteBuffer(2 << 20)
		return newUDP(udp)
	}
	if r, ok := pc.(renewable); ok {
		return newRenewed(r)
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

func (d *plainConn) receive(f func(b []byte, from netip.AddrPort)) error {
	n, addr, err := d.pc.ReadFrom(d.buf)
	if err != nil {
		return err
	}
	if from, ok := addrPort(addr); ok {
		f(d.buf[:n], from)
	}
	return nil
}

func (d *plainConn) send(b []byte, sizes []int, to netip.AddrPort) error {
	addr := net.UDPAddrFromAddrPort(to)
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
	buf []byte
}

func (d *udpConn) localAddr() net.Addr { return d.LocalAddr() }
func (d *udpConn) close()              { _ = d.Close() }

func (d *udpConn) receive(f func(b []byte, from netip.AddrPort)) error {
	n, from, err := d.ReadFromUDPAddrPort(d.buf)
	if err != nil {
		return err
	}
	f(d.buf[:n], unmap(from))
	return nil
}

func (d *udpConn) send(b []byte, sizes []int, to netip.AddrPort) error {
	for _, n := range sizes {
		if _, err := d.WriteToUDPAddrPort(b[:n], to); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}
