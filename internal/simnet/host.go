package simnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Defaults of a Link, and figures of the model.
const (
	DefaultWindow     = 512 << 10
	DefaultRetransmit = 200 * time.Millisecond

	segmentSize    = 4 << 10 // bytes that an uplink carries for one connection before the next has its turn
	backlog        = 128     // connections that wait for Accept
	synRetry       = time.Second
	firstEphemeral = 32768
)

// Link is how a host is connected. The zero value is a perfect link.
type Link struct {
	Up, Down   int64         // bytes per second, all connections together; 0 = no limit
	Delay      time.Duration // one way, to or from the middle of the network; a round trip takes 2 × (ours + theirs)
	Jitter     time.Duration // a segment that is sent takes up to this much longer
	Loss       float64       // share of sent segments that need a retransmission, 0 to 1
	Retransmit time.Duration // how much later those come; 0 = DefaultRetransmit
	Window     int           // bytes of one connection that may be unread or unacknowledged, in what this host sends; 0 = DefaultWindow
}

// Host is a machine on the network. Its methods are safe for concurrent use.
type Host struct {
	net  *Network
	addr netip.Addr

	// Guarded by net.mu.
	link      Link
	listeners map[uint16]*Listener
	conns     []*Conn // those to which something can still happen
	open      int     // ends here that were not closed
	nextPort  uint16
	cut       bool               // off the network
	shielded  bool               // behind a router
	holes     map[hole]time.Time // in it
	packets   map[uint16]*PacketConn
	refuse    bool
	up        uplink
	down      downlink
}

// Addr returns the host's address.
func (h *Host) Addr() netip.Addr { return h.addr }

// Partition cuts the host off, or connects it again. While it is cut off nothing gets in or out,
// and no end is told; afterwards the streams go on.
func (h *Host) Partition(cut bool) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.cut = cut
	if cut {
		return
	}
	for _, c := range h.conns {
		c.in.resume()
		c.out.resume()
	}
}

// Refuse makes the host refuse new connections, as if nothing listened.
func (h *Host) Refuse(refuse bool) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.refuse = refuse
}

// ResetConns resets all of the host's connections, at both ends and at once, as
// a crash of the host or a box between does it.
func (h *Host) ResetConns() {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	for _, c := range slices.Clone(h.conns) {
		c.peer.fail(errReset)
		c.fail(errReset)
	}
}

// Conns returns the number of connections whose end here was not closed yet, broken ones included:
// a test of a program's leaks wants 0.
func (h *Host) Conns() int {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	return h.open
}

// Listen accepts connections to a port, as [net.Listen] does. The address is
// "IP:port", ":port" or with port 0, when it picks one.
func (h *Host) Listen(network, address string) (*Listener, error) {
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	port, err := net.LookupPort(network, text)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if port == 0 {
		port = int(h.freePort())
	}
	addr := netip.AddrPortFrom(h.addr, uint16(port))
	if h.listeners[addr.Port()] != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Addr: net.TCPAddrFromAddrPort(addr), Err: syscall.EADDRINUSE}
	}
	l := &Listener{host: h, addr: addr}
	l.arrived.L = &h.net.mu
	h.listeners[addr.Port()] = l
	return l, nil
}

func (h *Host) freePort() uint16 {
	for {
		p := h.nextPort
		if h.nextPort++; h.nextPort == 0 {
			h.nextPort = firstEphemeral
		}
		if h.listeners[p] == nil {
			return p
		}
	}
}

// DialContext connects to "IP:port", in one round trip, like [net.Dialer.DialContext]. It waits for
// ctx if the other host is cut off.
func (h *Host) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := h.dial(ctx, address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	return c, nil
}

func (h *Host) dial(ctx context.Context, address string) (*Conn, error) {
	remote, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	remote = netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())
	d := &dialing{from: h, remote: remote, result: make(chan error, 1)}
	h.net.mu.Lock()
	d.to = h.net.hosts[remote.Addr()]
	if d.to == nil || h.net.closed {
		h.net.mu.Unlock()
		return nil, syscall.EHOSTUNREACH
	}
	d.local = netip.AddrPortFrom(h.addr, h.freePort())
	h.net.after(h.link.Delay+d.to.link.Delay, d.synArrives)
	h.net.mu.Unlock()

	select {
	case err = <-d.result:
	case <-h.net.done:
		err = errReset
	case <-ctx.Done():
		err = ctx.Err()
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("%w: %w", syscall.ETIMEDOUT, err)
		}
	}
	if err == nil {
		return d.conn, nil
	}
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	d.given = true
	if d.conn != nil {
		d.conn.abort()
	}
	return nil, err
}

// dialing is a connection attempt. Its fields but result are guarded by net.mu.
type dialing struct {
	from, to      *Host
	local, remote netip.AddrPort
	conn          *Conn // once the other side has it
	given         bool  // up
	result        chan error
}

// synArrives is the attempt's arrival at the other host.
func (d *dialing) synArrives() {
	n := d.from.net
	if d.given {
		return
	}
	l := d.to.listeners[d.remote.Port()]
	back := d.from.link.Delay + d.to.link.Delay
	switch {
	case d.from.cut, d.to.cut, d.to.shielded, l != nil && !d.to.refuse && len(l.queue) >= backlog:
		n.after(synRetry, d.synArrives)
	case l == nil, d.to.refuse:
		n.after(back, func() { d.result <- syscall.ECONNREFUSED })
	default:
		client, server := connect(d.from, d.to, d.local, d.remote)
		d.conn = client
		l.queue = append(l.queue, server)
		l.arrived.Signal()
		n.after(back, func() { d.result <- nil })
	}
}

// Listener implements net.Listener.
type Listener struct {
	host *Host
	addr netip.AddrPort

	// Guarded by the network's mutex.
	queue   []*Conn
	arrived sync.Cond
	closed  bool
}

// Addr returns the address, a *net.TCPAddr.
func (l *Listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.addr) }

// Accept waits for a connection.
func (l *Listener) Accept() (net.Conn, error) {
	l.host.net.mu.Lock()
	defer l.host.net.mu.Unlock()
	for len(l.queue) == 0 && !l.closed {
		l.arrived.Wait()
	}
	if l.closed {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.Addr(), Err: net.ErrClosed}
	}
	c := l.queue[0]
	l.queue = l.queue[1:]
	return c, nil
}

// Close ends Accept, and resets the connections that were not accepted.
func (l *Listener) Close() error {
	l.host.net.mu.Lock()
	defer l.host.net.mu.Unlock()
	if l.closed {
		return &net.OpError{Op: "close", Net: "tcp", Addr: l.Addr(), Err: net.ErrClosed}
	}
	l.closeLocked()
	return nil
}

func (l *Listener) closeLocked() {
	l.closed = true
	delete(l.host.listeners, l.addr.Port())
	for _, c := range l.queue {
		c.abort()
	}
	l.queue = nil
	l.arrived.Broadcast()
}
