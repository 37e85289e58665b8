package udpmux

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	maxMessage = 4 << 10 // bytes of a datagram for the DHT; longer ones are dropped
	maxQueued  = 128     // datagrams of one family that wait for the DHT
	readPause  = 10 * time.Millisecond
)

// Port is a UDP socket that is shared. Its methods may be called from any
// goroutine.
type Port struct {
	pc     net.PacketConn
	v4, v6 *view // nil: the socket has no such addresses
	closed chan struct{}
	once   sync.Once
	reader sync.WaitGroup
}

// New shares pc, a *net.UDPConn or what behaves like one. pc stays the caller's,
// and open, but for a Port that serves.
func New(pc net.PacketConn) *Port {
	p := &Port{pc: pc, closed: make(chan struct{})}
	v4, v6 := families(pc.LocalAddr())
	if v4 {
		p.v4 = newView(p)
	}
	if v6 {
		p.v6 = newView(p)
	}
	return p
}

// families returns the families that a socket can send to. One that is bound to no address was
// opened for both.
func families(a net.Addr) (v4, v6 bool) {
	u, ok := a.(interface{ AddrPort() netip.AddrPort })
	if !ok {
		return false, false
	}
	addr := u.AddrPort().Addr()
	if addr == netip.IPv6Unspecified() {
		return true, true
	}
	v4 = addr.Unmap().Is4()
	return v4, addr.IsValid() && !v4
}

// IPv4 is the DHT's socket for IPv4; nil if there is no such family.
// [Port.Close] ends it, and so does its own Close.
func (p *Port) IPv4() net.PacketConn { return p.v4.conn() }

// IPv6 is IPv4 for the other family.
func (p *Port) IPv6() net.PacketConn { return p.v6.conn() }

// Number is the port's number.
func (p *Port) Number() uint16 {
	if u, ok := p.pc.LocalAddr().(interface{ AddrPort() netip.AddrPort }); ok {
		return u.AddrPort().Port()
	}
	return 0
}

// Deliver takes a datagram that came to the port, to the address ours (invalid:
// not known), and is no uTP packet. It does not block and does not keep b.
func (p *Port) Deliver(b []byte, from netip.AddrPort, ours netip.Addr) {
	if len(b) == 0 || b[0] != 'd' || len(b) > maxMessage {
		return
	}
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	v := p.v6
	if from.Addr().Is4() {
		v = p.v4
	}
	if v != nil {
		v.put(b, from, ours)
	}
}

// Serve reads the socket until Close, if nothing else does. It owns the socket
// from then on.
func (p *Port) Serve() {
	r := newReader(p.pc)
	p.reader.Go(func() {
		buf := make([]byte, maxMessage+1)
		for {
			n, from, ours, err := r.read(buf)
			if err == nil {
				if from.IsValid() {
					p.Deliver(buf[:n], from, ours)
				}
				continue
			}
			if errors.Is(err, net.ErrClosed) {
				return
			}
			select { // such as an ICMP error about a packet of ours: not a reason to spin
			case <-time.After(readPause):
			case <-p.closed:
				return
			}
		}
	})
	p.reader.Go(func() {
		<-p.closed
		_ = p.pc.Close() // wakes the reader
	})
}

// Close ends the views. If Serve was called, it closes the socket and waits until reading has
// ended.
func (p *Port) Close() error {
	p.once.Do(func() { close(p.closed) })
	p.reader.Wait()
	return nil
}
