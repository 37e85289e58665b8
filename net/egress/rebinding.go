package egress

import (
	"fmt"
	"net"
	"sync"
	"time"
)

// socket is what listens: a net.Listener or a *net.UDPConn.
type socket interface {
	comparable
	Close() error
}

// rebinding is a socket on one address that is opened again when the interface
// has come back.
type rebinding[S socket] struct {
	link *link
	open func(addr string) (S, error)
	addr net.Addr // that the first one had

	mu     sync.Mutex // guards what follows; not held while a socket is opened
	cur    S
	ended  bool          // cur was closed, by end
	fresh  chan struct{} // closed when cur is replaced or the whole is closed
	closed bool
}

func newRebinding[S socket](l *link, cur S, addr net.Addr, open func(addr string) (S, error)) *rebinding[S] {
	r := &rebinding[S]{link: l, open: open, addr: addr, cur: cur, fresh: make(chan struct{})}
	l.keep(r)
	return r
}

func (r *rebinding[S]) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed && !r.ended {
		r.ended = true
		_ = r.cur.Close()
	}
}

func (r *rebinding[S]) rebind() error {
	r.mu.Lock()
	due := r.ended && !r.closed
	r.mu.Unlock()
	if !due {
		return nil
	}
	next, err := r.open(r.addr.String())
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return next.Close()
	}
	r.cur, r.ended = next, false
	close(r.fresh)
	r.fresh = make(chan struct{})
	return nil
}

// socket is the one of the moment.
func (r *rebinding[S]) socket() S {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cur
}

// after waits for the socket that takes the place of old, and fails with
// net.ErrClosed after Close.
func (r *rebinding[S]) after(old S) (S, error) {
	for {
		r.mu.Lock()
		cur, fresh, closed := r.cur, r.fresh, r.closed
		r.mu.Unlock()
		if closed {
			return cur, net.ErrClosed
		}
		if cur != old {
			return cur, nil
		}
		<-fresh
	}
}

// isRenewed reports whether a socket's error is that of one that end closed,
// or that was replaced.
func (r *rebinding[S]) isReplaced(old S) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.closed && (r.ended || r.cur != old)
}

// Close ends it for good.
func (r *rebinding[S]) Close() error {
	r.link.drop(r)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	r.closed = true
	close(r.fresh)
	if r.ended {
		return nil
	}
	return r.cur.Close()
}

// rebindingListener is a net.Listener that outlives its interface.
type rebindingListener struct{ *rebinding[net.Listener] }

func (l *link) keepListener(cur net.Listener, open func(addr string) (net.Listener, error)) net.Listener {
	return rebindingListener{newRebinding(l, cur, cur.Addr(), open)}
}

func (r rebindingListener) Addr() net.Addr { return r.addr }

func (r rebindingListener) Accept() (net.Conn, error) {
	for {
		cur := r.socket()
		generation := r.link.generation()
		c, err := cur.Accept()
		if err == nil {
			r.link.track(c, generation)
			return c, nil
		}
		if !r.isReplaced(cur) {
			return nil, err
		}
		if _, err := r.after(cur); err != nil {
			return nil, fmt.Errorf("accept: %w", err)
		}
	}
}

// RebindingConn is a UDP port that outlives its interface. One goroutine reads.
type RebindingConn struct {
	*rebinding[*net.UDPConn]

	deadlines sync.Mutex // guards deadline
	deadline  time.Time  // of reading, for the sockets to come
}

func (l *link) keepPacketConn(cur *net.UDPConn, open func(addr string) (*net.UDPConn, error)) *RebindingConn {
	return &RebindingConn{rebinding: newRebinding(l, cur, cur.LocalAddr(), open)}
}

// Socket is the socket of the moment. It is closed when it is of no more use,
// and not to be closed by others.
func (r *RebindingConn) Socket() *net.UDPConn { return r.socket() }

// SocketAfter waits for the one that takes the place of old. It fails with
// net.ErrClosed after Close.
func (r *RebindingConn) SocketAfter(old *net.UDPConn) (*net.UDPConn, error) {
	c, err := r.after(old)
	if err != nil {
		return nil, err
	}
	r.deadlines.Lock()
	defer r.deadlines.Unlock()
	return c, c.SetReadDeadline(r.deadline)
}

// ReadFrom implements net.PacketConn.
func (r *RebindingConn) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		cur := r.socket()
		n, from, err := cur.ReadFrom(p)
		if err == nil || !r.isReplaced(cur) {
			return n, from, err
		}
		if _, err := r.SocketAfter(cur); err != nil {
			return 0, nil, err
		}
	}
}

// WriteTo implements net.PacketConn.
func (r *RebindingConn) WriteTo(b []byte, to net.Addr) (int, error) {
	n, err := r.socket().WriteTo(b, to)
	if err != nil {
		err = r.link.explain(err)
	}
	return n, err
}

// LocalAddr implements net.PacketConn.
func (r *RebindingConn) LocalAddr() net.Addr { return r.addr }

// SetDeadline implements net.PacketConn.
func (r *RebindingConn) SetDeadline(t time.Time) error { return r.SetReadDeadline(t) }

// SetReadDeadline implements net.PacketConn. It does not wake a reader that
// waits for the interface.
func (r *RebindingConn) SetReadDeadline(t time.Time) error {
	r.deadlines.Lock()
	defer r.deadlines.Unlock()
	r.deadline = t
	return r.socket().SetReadDeadline(t)
}

// SetWriteDeadline implements net.PacketConn, and does nothing: nothing keeps a
// write waiting.
func (r *RebindingConn) SetWriteDeadline(time.Time) error { return nil }
