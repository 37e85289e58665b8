package utp

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Conn is a uTP connection. It implements net.Conn, and like a vectored
// connection it reads and writes several buffers at once. Its methods are safe
// for concurrent use.
type Conn struct {
	// Immutable.
	s         *Socket
	key       connKey
	sendID    uint16
	connected chan struct{} // closed when dialing is over, well or not

	readable chan struct{} // cap 1: wakes a reader
	writable chan struct{} // cap 1: wakes a writer
	readBy   deadline
	writeBy  deadline

	queued   atomic.Bool // the sender is to look after it, or is about to
	halfOpen bool        // incoming and not yet proven; guarded by the socket's mu

	mu      sync.Mutex // guards what follows; a leaf
	core    *core
	ours    netip.Addr // that the peer sent its first packet to, and ours leave from; invalid: not known
	dialing bool
	closed  bool // by Close
}

func newConn(s *Socket, key connKey, c *core) *Conn {
	if s.cfg.Overhead > 0 {
		c.narrow(s.cfg.Overhead)
	}
	return &Conn{
		s: s, key: key, sendID: c.sendID, core: c, connected: make(chan struct{}),
		readable: make(chan struct{}, 1), writable: make(chan struct{}, 1), dialing: c.state == stateSynSent,
	}
}

// changed wakes the waiting calls. mu is held.
func (c *Conn) changed() {
	if c.dialing && c.core.state != stateSynSent {
		c.dialing = false
		close(c.connected)
	}
	if c.core.readable() {
		signal(c.readable)
	}
	if c.core.writable() {
		signal(c.writable)
	}
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// abort ends the connection at once, and tells the peer.
func (c *Conn) abort() {
	c.mu.Lock()
	c.core.abort()
	c.changed()
	c.mu.Unlock()
	c.s.schedule(c)
}

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	one := [1][]byte{p}
	return c.ReadVectored(one[:])
}

// ReadVectored fills the buffers in order with what has come; like Read it waits
// for one byte at least.
func (c *Conn) ReadVectored(bufs [][]byte) (int, error) {
	room := 0
	for _, b := range bufs {
		room += len(b)
	}
	for {
		late := c.readBy.passed()
		c.mu.Lock()
		n, err := c.readOnce(bufs, late)
		more := c.core.readable()
		tell := c.core.ackNow
		c.mu.Unlock()
		if tell {
			c.s.schedule(c)
		}
		if more {
			signal(c.readable) // there may be another reader
		}
		if n > 0 || err != nil || room == 0 {
			return n, c.fault("read", err)
		}
		select {
		case <-c.readable:
		case <-c.readBy.wait():
		}
	}
}

// readOnce reads what is there. mu is held.
func (c *Conn) readOnce(bufs [][]byte, late bool) (n int, err error) {
	switch {
	case c.closed:
		return 0, net.ErrClosed
	case late:
		return 0, os.ErrDeadlineExceeded
	}
	for _, b := range bufs {
		if len(b) == 0 {
			continue
		}
		k, err := c.core.read(b)
		if n += k; k < len(b) {
			if n > 0 {
				err = nil
			}
			return n, err
		}
	}
	return n, nil
}

// Write implements net.Conn. It waits until the bytes are in the connection's
// buffer, not until they have arrived.
func (c *Conn) Write(p []byte) (int, error) {
	one := [1][]byte{p}
	n, err := c.WriteVectored(one[:])
	return int(n), err
}

// WriteVectored writes several buffers as if they were one. They are not kept.
func (c *Conn) WriteVectored(bufs [][]byte) (n int64, err error) {
	for i, p := range bufs {
		for {
			late := c.writeBy.passed()
			c.mu.Lock()
			k, err := c.writeOnce(p, late)
			c.mu.Unlock()
			n += int64(k)
			if err != nil {
				return n, c.fault("write", err)
			}
			p = p[k:]
			last := len(p) == 0
			if !last || i == len(bufs)-1 {
				c.s.schedule(c)
			}
			if last {
				break
			}
			select {
			case <-c.writable:
			case <-c.writeBy.wait():
			}
		}
	}
	return n, nil
}

// writeOnce writes what there is room for. mu is held.
func (c *Conn) writeOnce(p []byte, late bool) (int, error) {
	switch {
	case c.closed:
		return 0, net.ErrClosed
	case late:
		return 0, os.ErrDeadlineExceeded
	}
	return c.core.write(p)
}

// fault is an error as package net has them.
func (c *Conn) fault(op string, err error) error {
	switch {
	case err == nil || errors.Is(err, io.EOF):
		return err
	case errors.Is(err, errReset):
		err = os.NewSyscallError(op, syscall.ECONNRESET)
	case errors.Is(err, errTimeout):
		err = os.NewSyscallError(op, syscall.ETIMEDOUT)
	case errors.Is(err, errClosed):
		err = net.ErrClosed
	}
	return &net.OpError{Op: op, Net: "utp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

// Close implements net.Conn. Written data still goes out, for ten seconds at most; received data is
// discarded.
func (c *Conn) Close() error {
	c.mu.Lock()
	again := c.closed
	c.closed = true
	c.core.close(c.s.now())
	c.changed()
	c.mu.Unlock()
	if again {
		return nil
	}
	c.readBy.set(time.Time{}) // stops the timers
	c.writeBy.set(time.Time{})
	c.s.schedule(c)
	return nil
}

// LocalAddr implements net.Conn. Where the system tells to which address the peer
// sends, it is that one, else the socket's.
func (c *Conn) LocalAddr() net.Addr {
	c.mu.Lock()
	ours := c.ours
	c.mu.Unlock()
	all, ok := c.s.Addr().(*net.UDPAddr)
	if !ours.IsValid() || !ok {
		return c.s.Addr()
	}
	return net.UDPAddrFromAddrPort(netip.AddrPortFrom(ours, all.AddrPort().Port()))
}

// RemoteAddr implements net.Conn; it is a *net.UDPAddr.
func (c *Conn) RemoteAddr() net.Addr { return net.UDPAddrFromAddrPort(c.key.addr) }

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error {
	c.readBy.set(t)
	c.writeBy.set(t)
	return nil
}

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error { c.readBy.set(t); return nil }

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error { c.writeBy.set(t); return nil }

// deadline is a time that can be moved while a call waits for it. The zero value never passes.
type deadline struct {
	mu    sync.Mutex
	over  chan struct{} // closed once the time has passed; nil: not asked for yet
	timer *time.Timer
}

func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil && !d.timer.Stop() {
		<-d.over // it is about to be closed
	}
	d.timer = nil
	left := time.Until(t)
	if d.over == nil || (isClosed(d.over) && (t.IsZero() || left > 0)) {
		d.over = make(chan struct{})
	}
	switch {
	case t.IsZero():
	case left > 0:
		over := d.over
		d.timer = time.AfterFunc(left, func() { close(over) })
	case !isClosed(d.over):
		close(d.over)
	}
}

// wait returns a channel that is closed when the time has passed.
func (d *deadline) wait() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over == nil {
		d.over = make(chan struct{})
	}
	return d.over
}

func (d *deadline) passed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.over != nil && isClosed(d.over)
}

func isClosed(ch chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}
