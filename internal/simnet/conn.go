package simnet

import (
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// errReset is what a reset connection's operations fail with.
var errReset error = syscall.ECONNRESET

// Conn is one end of a connection. It implements net.Conn; like a
// *net.TCPConn it also has CloseWrite and SetLinger, and it can read into
// several buffers at once.
type Conn struct {
	net           *Network
	host          *Host
	local, remote netip.AddrPort
	peer          *Conn
	in, out       *pipe

	// Guarded by net.mu.
	readable, writable sync.Cond
	readLimit          deadline
	writeLimit         deadline
	closed             bool
	hard               bool  // Close resets
	err                error // the connection was reset
}

var _ net.Conn = (*Conn)(nil)

// connect makes the two ends of a connection. mu is held.
func connect(from, to *Host, local, remote netip.AddrPort) (client, server *Conn) {
	n := from.net
	out, in := newPipe(n, from, to, local, remote), newPipe(n, to, from, remote, local)
	client = &Conn{net: n, host: from, local: local, remote: remote, in: in, out: out}
	server = &Conn{net: n, host: to, local: remote, remote: local, in: out, out: in}
	out.from, out.to = client, server
	in.from, in.to = server, client
	client.peer, server.peer = server, client
	for _, c := range []*Conn{client, server} {
		c.readable.L, c.writable.L = &n.mu, &n.mu
		c.host.conns = append(c.host.conns, c)
		c.host.open++
	}
	return client, server
}

// deadline is a point in time that wakes those who wait.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

func (d *deadline) past() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

// set changes the deadline; wake is broadcast when it comes. mu is held.
func (d *deadline) set(t time.Time, wake *sync.Cond) {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.at = t
	if left := time.Until(t); !t.IsZero() && left > 0 {
		d.timer = time.AfterFunc(left, func() {
			wake.L.Lock()
			defer wake.L.Unlock()
			wake.Broadcast()
		})
	}
	wake.Broadcast()
}

func (c *Conn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

// Read implements net.Conn.
func (c *Conn) Read(b []byte) (int, error) { return c.ReadVectored([][]byte{b}) }

// ReadVectored fills the buffers in order with what has arrived; like Read it
// waits for one byte at least.
func (c *Conn) ReadVectored(bufs [][]byte) (int, error) {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	for {
		switch {
		case c.closed:
			return 0, c.opError("read", net.ErrClosed)
		case c.readLimit.past():
			return 0, c.opError("read", os.ErrDeadlineExceeded)
		}
		total, want := 0, 0
		for _, b := range bufs {
			want += len(b)
			total += c.in.read(b)
		}
		switch {
		case total > 0, want == 0:
			return total, nil
		case c.err != nil:
			return 0, c.opError("read", c.err)
		case c.in.eof:
			return 0, io.EOF
		}
		c.readable.Wait()
	}
}

// Write implements net.Conn. It waits for the window, not for the bytes to be
// sent.
func (c *Conn) Write(b []byte) (n int, err error) {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	for {
		switch {
		case c.closed:
			return n, c.opError("write", net.ErrClosed)
		case c.writeLimit.past():
			return n, c.opError("write", os.ErrDeadlineExceeded)
		case c.err != nil:
			return n, c.opError("write", c.err)
		case c.out.fin:
			return n, c.opError("write", syscall.EPIPE)
		}
		if m := min(len(b)-n, c.out.room()); m > 0 {
			c.out.write(b[n : n+m])
			n += m
		}
		if n == len(b) {
			return n, nil
		}
		c.writable.Wait()
	}
}

// Close implements net.Conn: what was written still goes out, then the end of
// the stream. As with TCP, a connection that is closed with received bytes unread
// is reset.
func (c *Conn) Close() error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if c.closed {
		return c.opError("close", net.ErrClosed)
	}
	if c.hard || len(c.in.arrived) > 0 {
		c.abort()
		return nil
	}
	c.shut()
	c.out.finish()
	return nil
}

// CloseWrite ends the stream that we send; reading goes on.
func (c *Conn) CloseWrite() error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if c.closed {
		return c.opError("close", net.ErrClosed)
	}
	c.out.finish()
	c.writable.Broadcast()
	return nil
}

// SetLinger with 0 makes Close reset the connection; see [net.TCPConn.SetLinger].
func (c *Conn) SetLinger(sec int) error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	c.hard = sec == 0
	return nil
}

// Reset closes the connection, loses what is under way, and tells the other end,
// whose operations then fail with ECONNRESET.
func (c *Conn) Reset() {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	c.abort()
}

// shut closes this end for its user. mu is held.
func (c *Conn) shut() {
	if !c.closed {
		c.host.open--
	}
	c.closed = true
	c.readLimit.set(time.Time{}, &c.readable)
	c.writeLimit.set(time.Time{}, &c.writable)
	c.in.arrived = nil
	c.forget()
}

// abort closes this end and sends a reset to the other. mu is held.
func (c *Conn) abort() {
	if c.out.dead {
		c.shut()
		return
	}
	c.shut()
	c.out.kill()
	peer := c.peer
	c.net.after(c.out.delay(), func() {
		if !c.host.cut && !peer.host.cut { // else the reset is lost: it is not repeated
			peer.fail(errReset)
		}
	})
}

// fail makes this end's operations return err, after what has arrived was read.
// mu is held.
func (c *Conn) fail(err error) {
	if c.err == nil {
		c.err = err
	}
	c.in.kill()
	c.out.kill()
	c.readable.Broadcast()
	c.writable.Broadcast()
	c.forget()
}

// forget takes the connection off its host's list when nothing can happen to it
// any more. mu is held.
func (c *Conn) forget() {
	over := c.err != nil || c.closed && (c.out.dead || c.out.finSent && len(c.out.transit) == 0)
	if !over {
		return
	}
	if i := slices.Index(c.host.conns, c); i >= 0 {
		c.host.conns = slices.Delete(c.host.conns, i, i+1)
	}
}

// LocalAddr returns our address, a *net.TCPAddr.
func (c *Conn) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(c.local) }

// RemoteAddr returns the other end's address, a *net.TCPAddr.
func (c *Conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error {
	return c.setDeadline(&c.readLimit, &c.readable, t)
}

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	return c.setDeadline(&c.writeLimit, &c.writable, t)
}

func (c *Conn) setDeadline(d *deadline, wake *sync.Cond, t time.Time) error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if c.closed {
		return c.opError("set", net.ErrClosed)
	}
	d.set(t, wake)
	return nil
}
