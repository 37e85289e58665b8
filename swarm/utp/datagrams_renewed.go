package utp

import (
	"errors"
	"net"
	"sync/atomic"
)

// renewable is a UDP port whose socket is replaced now and then, such as
// egress.RenewedConn, which outlives its interface.
type renewable interface {
	net.PacketConn
	// Socket is the socket of the moment.
	Socket() *net.UDPConn
	// SocketAfter waits for the one that takes the place of old. It fails with
	// net.ErrClosed after Close.
	SocketAfter(old *net.UDPConn) (*net.UDPConn, error)
}

// renewedConn sends and receives many packets with one system call, by whichever
// socket is there.
type renewedConn struct {
	pc  renewable
	cur atomic.Pointer[renewedSocket] // replaced by the receiver
}

type renewedSocket struct {
	datagrams
	udp *net.UDPConn
}

func newRenewed(pc renewable) *renewedConn {
	d := &renewedConn{pc: pc}
	d.use(pc.Socket())
	return d
}

func (d *renewedConn) use(udp *net.UDPConn) { d.cur.Store(&renewedSocket{newDatagrams(udp), udp}) }

func (d *renewedConn) receive(f func(b []byte, on route)) error {
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

func (d *renewedConn) send(b []byte, sizes []int, on route) error {
	return d.cur.Load().send(b, sizes, on)
}

func (d *renewedConn) answer(b []byte, on route) error { return d.cur.Load().answer(b, on) }

func (d *renewedConn) localAddr() net.Addr { return d.pc.LocalAddr() }
func (d *renewedConn) close()              { _ = d.pc.Close() }
