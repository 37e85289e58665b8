package udpmux

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// view is the port as the DHT sees it: the datagrams of one family that are for
// it.
type view struct {
	port   *Port
	queue  chan datagram
	free   chan []byte // buffers of those that were read
	closed chan struct{}
	once   sync.Once

	mu      sync.Mutex
	timer   *time.Timer   // closes expired; nil: there is no deadline to come
	expired chan struct{} // closed when the read deadline has passed
}

type datagram struct {
	b    []byte
	from netip.AddrPort
	ours netip.Addr // that it came to
}

var _ net.PacketConn = (*view)(nil)

func newView(p *Port) *view {
	return &view{
		port: p, queue: make(chan datagram, maxQueued), free: make(chan []byte, maxQueued),
		closed: make(chan struct{}), expired: make(chan struct{}),
	}
}

// conn is v as an interface that is nil if v is.
func (v *view) conn() net.PacketConn {
	if v == nil {
		return nil
	}
	return v
}

// put queues a copy of b, or drops it.
func (v *view) put(b []byte, from netip.AddrPort, ours netip.Addr) {
	if len(v.queue) == cap(v.queue) {
		return
	}
	var own []byte
	select {
	case own = <-v.free:
	default:
	}
	select {
	case v.queue <- datagram{append(own[:0], b...), from, ours}:
	default:
	}
}

// ReadFrom implements net.PacketConn. The address is an [*Addr].
func (v *view) ReadFrom(p []byte) (int, net.Addr, error) {
	expired := v.deadline()
	select {
	case <-v.closed:
		return 0, nil, net.ErrClosed
	case <-v.port.closed:
		return 0, nil, net.ErrClosed
	case <-expired:
		return 0, nil, os.ErrDeadlineExceeded
	default:
	}
	select {
	case d := <-v.queue:
		n := copy(p, d.b)
		select {
		case v.free <- d.b:
		default:
		}
		return n, &Addr{*net.UDPAddrFromAddrPort(d.from), d.ours}, nil
	case <-v.closed:
		return 0, nil, net.ErrClosed
	case <-v.port.closed:
		return 0, nil, net.ErrClosed
	case <-expired:
		return 0, nil, os.ErrDeadlineExceeded
	}
}

func (v *view) deadline() <-chan struct{} {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.expired
}

// SetReadDeadline implements net.PacketConn; a time that has passed ends a
// ReadFrom that waits.
func (v *view) SetReadDeadline(t time.Time) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.timer != nil && !v.timer.Stop() {
		<-v.expired // the timer is closing it
	}
	v.timer = nil
	select {
	case <-v.expired:
		v.expired = make(chan struct{})
	default:
	}
	if t.IsZero() {
		return nil
	}
	expired := v.expired
	if d := time.Until(t); d > 0 {
		v.timer = time.AfterFunc(d, func() { close(expired) })
	} else {
		close(expired)
	}
	return nil
}

// WriteTo implements net.PacketConn. To an [*Addr] it answers from the address of
// ours that is named there: a host that asked one address takes no answer from another.
func (v *view) WriteTo(b []byte, to net.Addr) (int, error) {
	select {
	case <-v.closed:
		return 0, net.ErrClosed
	default:
	}
	if a, ok := to.(*Addr); ok {
		return send(v.port.pc, b, a.Ours, &a.UDPAddr)
	}
	return v.port.pc.WriteTo(b, to)
}

// SetDeadline implements net.PacketConn: nothing keeps a write waiting.
func (v *view) SetDeadline(t time.Time) error { return v.SetReadDeadline(t) }

// SetWriteDeadline implements net.PacketConn, and does nothing.
func (v *view) SetWriteDeadline(time.Time) error { return nil }

// LocalAddr implements net.PacketConn.
func (v *view) LocalAddr() net.Addr { return v.port.pc.LocalAddr() }

// Close implements net.PacketConn. The port stays.
func (v *view) Close() error {
	v.once.Do(func() { close(v.closed) })
	return v.SetReadDeadline(time.Time{})
}
