package simnet

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

const (
	// holeLife is for how long a router lets in what answers a datagram (RFC 4787 asks for two
	// minutes, many do less).
	holeLife      = 30 * time.Second
	datagramQueue = 1024 // datagrams that wait to be read; others are lost
)

// hole is what a router remembers of a datagram that went out: our port, and
// where it went.
type hole struct {
	port uint16
	to   netip.AddrPort
}

// Shield puts the host behind a router of its own, or takes it away. Its address
// is then the router's, and its ports keep their numbers outside. No TCP
// connection gets in, and a datagram only if one went from that port to just the
// address and port that it comes from less than half a minute ago: filtering by
// address and port, with a mapping that does not depend on them (RFC 4787).
func (h *Host) Shield(on bool) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.shielded = on
	h.holes = map[hole]time.Time{}
}

// PacketConn is a datagram socket, a [net.PacketConn]. Datagrams take the delays of both hosts;
// rates and loss do not apply to them.
type PacketConn struct {
	host *Host
	addr netip.AddrPort

	// Guarded by the network's mutex.
	queue    []datagram
	readable sync.Cond
	limit    deadline
	closed   bool
}

type datagram struct {
	data []byte
	from netip.AddrPort
}

// ListenPacket opens a datagram socket on a port, 0 for any.
func (h *Host) ListenPacket(port uint16) (*PacketConn, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if port == 0 {
		port = h.freePort()
	}
	c := &PacketConn{host: h, addr: netip.AddrPortFrom(h.addr, port)}
	if h.packets[port] != nil {
		return nil, c.opError("listen", syscall.EADDRINUSE)
	}
	c.readable.L = &h.net.mu
	if h.packets == nil {
		h.packets = map[uint16]*PacketConn{}
	}
	h.packets[port] = c
	return c, nil
}

func (c *PacketConn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "udp", Addr: c.LocalAddr(), Err: err}
}

// WriteTo sends a datagram. A datagram without a receiver is no error.
func (c *PacketConn) WriteTo(p []byte, addr net.Addr) (int, error) {
	to, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return 0, c.opError("write", fmt.Errorf("address %v: %w", addr, err))
	}
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	n := c.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if c.closed {
		return 0, c.opError("write", net.ErrClosed)
	}
	if c.host.shielded {
		c.host.holes[hole{c.addr.Port(), to}] = time.Now()
	}
	if there := n.hosts[to.Addr()]; there != nil && !c.host.cut {
		d := datagram{bytes.Clone(p), c.addr}
		n.after(c.host.link.Delay+there.link.Delay, func() { there.take(to.Port(), d) })
	}
	return len(p), nil
}

// take lets a datagram in. mu is held.
func (h *Host) take(port uint16, d datagram) {
	c := h.packets[port]
	if c == nil || h.cut || len(c.queue) >= datagramQueue {
		return
	}
	if h.shielded {
		opened, ok := h.holes[hole{port, d.from}]
		if !ok || time.Since(opened) > holeLife {
			return
		}
	}
	c.queue = append(c.queue, d)
	c.readable.Signal()
}

// ReadFrom waits for a datagram.
func (c *PacketConn) ReadFrom(p []byte) (int, net.Addr, error) {
	c.host.net.mu.Lock()
	defer c.host.net.mu.Unlock()
	for len(c.queue) == 0 && !c.closed && !c.limit.past() {
		c.readable.Wait()
	}
	switch {
	case c.closed:
		return 0, nil, c.opError("read", net.ErrClosed)
	case len(c.queue) == 0:
		return 0, nil, c.opError("read", os.ErrDeadlineExceeded)
	}
	d := c.queue[0]
	c.queue = c.queue[1:]
	return copy(p, d.data), net.UDPAddrFromAddrPort(d.from), nil
}

// Close ends ReadFrom.
func (c *PacketConn) Close() error {
	c.host.net.mu.Lock()
	defer c.host.net.mu.Unlock()
	if c.closed {
		return c.opError("close", net.ErrClosed)
	}
	c.closed = true
	delete(c.host.packets, c.addr.Port())
	c.limit.set(time.Time{}, &c.readable)
	return nil
}

// LocalAddr returns our address, a *net.UDPAddr.
func (c *PacketConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.addr) }

// SetDeadline implements net.PacketConn.
func (c *PacketConn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetReadDeadline implements net.PacketConn.
func (c *PacketConn) SetReadDeadline(t time.Time) error {
	c.host.net.mu.Lock()
	defer c.host.net.mu.Unlock()
	c.limit.set(t, &c.readable)
	return nil
}

// SetWriteDeadline implements net.PacketConn: a write never waits.
func (c *PacketConn) SetWriteDeadline(time.Time) error { return nil }
