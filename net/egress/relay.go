package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

const (
	firstAgain   = time.Second // until a lost association is asked for again; doubles
	longestAgain = time.Minute
	maxRelayed   = 1 << 16 // bytes of a datagram with its header
)

var errNoAssociation = fmt.Errorf("%w: the proxy relays no datagrams at the moment", ErrDown)

// association is a proxy's grant to relay datagrams.
type association struct {
	control net.Conn // the association ends with it
	packets net.Conn // connected to the relay: no other host is heard
}

func (a *association) close() {
	_ = a.control.Close()
	_ = a.packets.Close()
}

// Relay is a UDP port at a SOCKS5 proxy, a net.PacketConn: to an address that has
// AddrPort, or to a [NameAddr]. A peer that we have sent to can answer; whether others
// can reach it, and where, the proxy does not tell.
//
// It asks the proxy in the background, and again when the association has ended.
// Meanwhile nothing comes, and what is sent fails with ErrDown. One goroutine reads.
type Relay struct {
	// Immutable.
	associate func(context.Context) (*association, error)
	opened    func()
	ctx       context.Context
	stop      context.CancelFunc
	wg        sync.WaitGroup
	headers   sync.Pool // of *[]byte, for what is sent

	buf []byte // the reader's

	mu       sync.Mutex // guards what follows; a leaf
	cur      *association
	changed  chan struct{} // closed when cur is another
	deadline time.Time     // of reading
}

// newRelay starts a relay; opened is called, by its goroutine, when there is a new
// association.
func newRelay(associate func(context.Context) (*association, error), opened func()) *Relay {
	r := &Relay{
		associate: associate, opened: opened, buf: make([]byte, maxRelayed), changed: make(chan struct{}),
		headers: sync.Pool{New: func() any { return new([]byte) }},
	}
	r.ctx, r.stop = context.WithCancel(context.Background())
	r.wg.Go(r.keep)
	return r
}

// keep has an association, as long as the relay is open.
func (r *Relay) keep() {
	again := firstAgain
	for r.ctx.Err() == nil {
		if a, err := r.associate(r.ctx); err == nil {
			began := time.Now()
			r.use(a)
			r.opened()
			r.outlive(a)
			r.use(nil)
			if time.Since(began) > longestAgain {
				again = firstAgain
			}
		}
		t := time.NewTimer(again)
		select {
		case <-t.C:
		case <-r.ctx.Done():
		}
		t.Stop()
		again = min(2*again, longestAgain)
	}
}

func (r *Relay) use(a *association) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cur = a
	close(r.changed)
	r.changed = make(chan struct{})
	if a != nil {
		_ = a.packets.SetReadDeadline(r.deadline)
	}
}

// outlive waits until the proxy hangs up, or the relay is closed, and ends the
// association.
func (r *Relay) outlive(a *association) {
	defer a.close()
	stop := context.AfterFunc(r.ctx, func() { _ = a.control.Close() })
	defer stop()
	var b [64]byte
	for {
		if _, err := a.control.Read(b[:]); err != nil { // there is nothing to say
			return
		}
	}
}

func (r *Relay) current() (cur *association, changed <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cur, r.changed
}

// Ready waits until there is an association. It fails with net.ErrClosed after
// Close.
func (r *Relay) Ready(ctx context.Context) error {
	for {
		cur, changed := r.current()
		if cur != nil {
			return nil
		}
		select {
		case <-changed:
		case <-r.ctx.Done():
			return net.ErrClosed
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// ReadFrom implements net.PacketConn. It outlives associations, and drops malformed datagrams.
func (r *Relay) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		if r.ctx.Err() != nil {
			return 0, nil, net.ErrClosed
		}
		cur, changed := r.current()
		if cur == nil {
			select {
			case <-changed:
			case <-r.ctx.Done():
			}
			continue
		}
		n, err := cur.packets.Read(r.buf)
		switch {
		case err == nil:
			if payload, from, err := parseDatagram(r.buf[:n]); err == nil {
				return copy(p, payload), from, nil
			}
		case errors.Is(err, os.ErrDeadlineExceeded):
			return 0, nil, err
		case errors.Is(err, net.ErrClosed): // the next one is on its way
			select {
			case <-changed:
			case <-r.ctx.Done():
			}
		default: // such as an ICMP error: not a reason to spin
			select {
			case <-time.After(10 * time.Millisecond):
			case <-r.ctx.Done():
			}
		}
	}
}

// WriteTo implements net.PacketConn.
func (r *Relay) WriteTo(b []byte, to net.Addr) (int, error) {
	if r.ctx.Err() != nil {
		return 0, net.ErrClosed
	}
	cur, _ := r.current()
	if cur == nil {
		return 0, errNoAssociation
	}
	buf := r.headers.Get().(*[]byte)
	defer r.headers.Put(buf)
	packet, err := appendDatagram((*buf)[:0], to)
	if err != nil {
		return 0, err
	}
	*buf = append(packet, b...)
	switch _, err := cur.packets.Write(*buf); {
	case errors.Is(err, net.ErrClosed): // just now
		return 0, errNoAssociation
	case err != nil:
		return 0, err
	}
	return len(b), nil
}

// Close ends the association, and waits for the relay's goroutines.
func (r *Relay) Close() error {
	r.stop()
	r.wg.Wait() // the association has ended with it, which wakes the reader
	return nil
}

// LocalAddr implements net.PacketConn: there is none that others could use, and
// either family may be sent to.
func (r *Relay) LocalAddr() net.Addr { return &net.UDPAddr{IP: net.IPv6unspecified} }

// SetDeadline implements net.PacketConn.
func (r *Relay) SetDeadline(t time.Time) error { return r.SetReadDeadline(t) }

// SetReadDeadline implements net.PacketConn. It does not wake a reader that waits
// for the proxy.
func (r *Relay) SetReadDeadline(t time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.deadline = t
	if r.cur == nil {
		return nil
	}
	return r.cur.packets.SetReadDeadline(t)
}

// SetWriteDeadline implements net.PacketConn, and does nothing: nothing keeps a
// write waiting.
func (r *Relay) SetWriteDeadline(time.Time) error { return nil }
