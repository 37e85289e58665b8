package utp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Defaults of [Config].
const (
	defaultConns    = 500
	defaultHalfOpen = 128
	defaultBacklog  = 64
)

// ErrTooMany is returned by Dial when the socket has as many connections as it
// may.
var ErrTooMany = errors.New("too many connections")

// Config configures a socket. The zero value works.
type Config struct {
	Logger   *slog.Logger // nil: silent
	Overhead int          // bytes that each datagram gets on its way beside the usual headers, as by a proxy

	// Other gets datagrams that are no uTP packets, so that a DHT can share the port, and the
	// address of ours that each came to, invalid if that is not known. It must not block, nor keep
	// b. nil: they are dropped.
	Other func(b []byte, from netip.AddrPort, ours netip.Addr)

	// For tests.
	maxConns    int // connections in all
	maxHalfOpen int // of them, incoming ones whose address is not yet proven
	backlog     int // incoming ones that wait for Accept
}

// Socket speaks uTP over one datagram socket: it dials, and it is a
// [net.Listener].
type Socket struct {
	// Immutable.
	cfg     Config
	log     *slog.Logger
	io      datagrams
	start   time.Time
	backlog chan *Conn
	wake    chan struct{} // cap 1: something is in ready
	done    chan struct{}
	wg      sync.WaitGroup

	resets *rate.Limiter // answers to packets of no connection; used by the receiver

	// Owned by the sender.
	tickAt time.Duration // the least deadline of all connections, or earlier
	out    []byte
	sizes  []int
	all    []*Conn

	mu       sync.Mutex // guards what follows; a leaf
	conns    map[connKey]*Conn
	halfOpen int
	ready    []*Conn
	closed   bool
}

// connKey is how an incoming packet finds its connection.
type connKey struct {
	addr netip.AddrPort
	id   uint16 // that we receive
}

// New returns a socket that works over pc and owns it: [Socket.Close] closes it.
// On Linux a *net.UDPConn sends and receives many packets with one system call.
func New(pc net.PacketConn, cfg Config) *Socket {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.maxConns <= 0 {
		cfg.maxConns = defaultConns
	}
	if cfg.maxHalfOpen <= 0 {
		cfg.maxHalfOpen = defaultHalfOpen
	}
	if cfg.backlog <= 0 {
		cfg.backlog = defaultBacklog
	}
	s := &Socket{
		cfg: cfg, log: cfg.Logger, io: newDatagrams(pc), start: time.Now().Add(-time.Second),
		backlog: make(chan *Conn, cfg.backlog), wake: make(chan struct{}, 1), done: make(chan struct{}),
		resets: rate.NewLimiter(20, 20), conns: make(map[connKey]*Conn),
		out: make([]byte, 0, sendBatch*maxDatagram),
	}
	s.wg.Go(s.receiveLoop)
	s.wg.Go(s.sendLoop)
	return s
}

func (s *Socket) now() time.Duration { return time.Since(s.start) }

// Addr implements net.Listener.
func (s *Socket) Addr() net.Addr { return s.io.localAddr() }

// Accept implements net.Listener: it waits for a connection whose other end has shown that it
// receives at its address.
func (s *Socket) Accept() (net.Conn, error) {
	select {
	case c := <-s.backlog:
		return c, nil
	case <-s.done:
		return nil, fmt.Errorf("accept uTP connection: %w", net.ErrClosed)
	}
}

// DialContext is [Socket.Dial] in the form of net.Dialer's. The address is
// IP:port, no name is looked up, and the network is not looked at.
func (s *Socket) DialContext(ctx context.Context, _, address string) (net.Conn, error) {
	addr, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, fmt.Errorf("dial uTP: %w", err)
	}
	c, err := s.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Dial connects to a peer. Without a deadline in ctx it gives up after half a
// minute.
func (s *Socket) Dial(ctx context.Context, addr netip.AddrPort) (*Conn, error) {
	addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
	c, err := s.open(addr)
	if err != nil {
		return nil, fmt.Errorf("dial uTP %v: %w", addr, err)
	}
	s.schedule(c)
	select {
	case <-c.connected:
		c.mu.Lock()
		failed := c.core.state == stateClosed
		err = c.core.failure(errClosed)
		c.mu.Unlock()
		if !failed {
			return c, nil
		}
	case <-ctx.Done():
		err = ctx.Err()
	case <-s.done:
		err = net.ErrClosed
	}
	c.abort()
	return nil, fmt.Errorf("dial uTP %v: %w", addr, err)
}

// open adds an outgoing connection under an id that is free.
func (s *Socket) open(addr netip.AddrPort) (*Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, net.ErrClosed
	}
	if len(s.conns) >= s.cfg.maxConns {
		return nil, ErrTooMany
	}
	for range 100 {
		key := connKey{addr, uint16(rand.Uint32())}
		if s.conns[key] != nil {
			continue
		}
		c := newConn(s, key, newDialer(s.now(), key.id))
		s.conns[key] = c
		return c, nil
	}
	return nil, ErrTooMany // hundreds of connections to one address
}

// Close resets all connections, closes the datagram socket and waits for
// everything that the socket had running.
func (s *Socket) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	all := make([]*Conn, 0, len(s.conns))
	for _, c := range s.conns {
		all = append(all, c)
	}
	s.mu.Unlock()
	for _, c := range all {
		c.abort()
	}
	close(s.done) // the sender lets the resets out
	s.wg.Wait()
	return nil
}

// schedule makes the sender look after a connection: after each event that may have given it
// something to send, another deadline, or its end.
func (s *Socket) schedule(c *Conn) {
	if !c.queued.CompareAndSwap(false, true) {
		return
	}
	s.mu.Lock()
	s.ready = append(s.ready, c)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// sendLoop is the one goroutine that sends, and the one that keeps time.
func (s *Socket) sendLoop() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var ready []*Conn
	for {
		stop := false
		select {
		case <-s.wake:
		case <-timer.C:
			s.tick()
		case <-s.done:
			stop = true
		}
		for {
			s.mu.Lock()
			ready, s.ready = s.ready, ready[:0]
			s.mu.Unlock()
			if len(ready) == 0 {
				break
			}
			for i, c := range ready {
				s.flush(c)
				ready[i] = nil
			}
			if s.tickAt > 0 && s.now() >= s.tickAt {
				s.tick() // there may always be something ready
			}
		}
		if stop {
			s.io.close() // ends the receiver
			return
		}
		if s.tickAt > 0 {
			timer.Reset(max(s.tickAt-s.now(), time.Millisecond))
		}
	}
}

// tick runs the timers due on all connections, and finds the next deadline.
func (s *Socket) tick() {
	s.mu.Lock()
	for _, c := range s.conns {
		s.all = append(s.all, c)
	}
	s.mu.Unlock()
	now := s.now()
	s.tickAt = 0
	for i, c := range s.all {
		c.mu.Lock()
		d := c.core.deadline()
		due := d > 0 && d <= now
		if due {
			c.core.tick(now)
			c.changed()
		}
		c.mu.Unlock()
		if due {
			s.flush(c)
		} else {
			s.dueAt(d)
		}
		s.all[i] = nil
	}
	s.all = s.all[:0]
}

func (s *Socket) dueAt(d time.Duration) {
	if d > 0 && (s.tickAt == 0 || d < s.tickAt) {
		s.tickAt = d
	}
}

// sendBatch is how many packets a connection sends before it is another's turn,
// and what one system call takes.
const sendBatch = 32

// flush sends a connection's pending packets.
func (s *Socket) flush(c *Conn) {
	c.queued.Store(false)
	s.out, s.sizes = s.out[:0], s.sizes[:0]
	c.mu.Lock()
	now := s.now()
	more := true
	for len(s.sizes) < sendBatch {
		n := len(s.out)
		if s.out, more = c.core.next(now, s.out); !more {
			break
		}
		s.sizes = append(s.sizes, len(s.out)-n)
	}
	d := c.core.deadline()
	over := c.core.state == stateClosed && !more
	on := route{c.key.addr, c.ours}
	c.changed()
	c.mu.Unlock()
	s.dueAt(d)
	if len(s.sizes) > 0 {
		if err := s.io.send(s.out, s.sizes, on); err != nil && !errors.Is(err, net.ErrClosed) {
			// As if the packets were lost on the way.
			s.log.Debug("uTP packets were not sent", "to", c.key.addr, "err", err)
		}
	}
	if more {
		s.schedule(c)
	}
	if over {
		s.remove(c)
	}
}

func (s *Socket) remove(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns[c.key] != c {
		return
	}
	delete(s.conns, c.key)
	if c.halfOpen {
		c.halfOpen = false
		s.halfOpen--
	}
}
