package utp

import (
	"errors"
	"net"
	"sync/atomic"
)

// rebinding is a UDP port whose socket is replaced now and then, such as
// egress.RebindingConn, which outlives its interface.
type rebinding interface {
	net.PacketConn
	// Socket is the socket of the moment.
	Socket() *net.UDPConn
	// SocketAfter waits for the one that takes the place of old. It fails with
	// net.ErrClosed after Close.
	SocketAfter(old *net.UDPConn) (*net.UDPConn, error)
}

// rebindingConn sends and receives many packets with one system call, on the current socket.
type rebindingConn struct {
	pc  rebinding
	cur atomic.Pointer[boundSocket] // replaced by the receiver
}

type boundSocket struct {
	datagrams
	udp *net.UDPConn
}

func newRebinding(pc rebinding) *rebindingConn {
	d := &rebindingConn{pc: pc}
	d.use(pc.Socket())
	return d
}

func (d *rebindingConn) use(udp *net.UDPConn) { d.cur.Store(&boundSocket{newDatagrams(udp), udp}) }

func (d *rebindingConn) receive(f func(b []byte, on route)) error {
	cur := d.cur.Load()
	err := cur.receive(f)
	if !errors.Is(err, net.ErrClosed) {
		return err
	}
	next, err := d.pc.SocketAfter(cur.udp)
	if err == nil {
		d.use(next)
	}
	return err
}

func (d *rebindingConn) send(b []byte, sizes []int, on route) error {
	return d.cur.Load().send(b, sizes, on)
}

func (d *rebindingConn) answer(b []byte, on route) error { return d.cur.Load().answer(b, on) }

func (d *rebindingConn) localAddr() net.Addr { return d.pc.LocalAddr() }
func (d *rebindingConn) close()              { _ = d.pc.Close() }
