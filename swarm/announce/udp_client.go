package announce

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"torrentfs/net/egress"
)

const (
	connectionLife = 60 * time.Second // of a connection id, for the client (BEP 15)
	maxPacket      = 16 << 10         // bytes read of a reply; more peers than that are not needed
)

// udpClient owns one socket per address family, each with a goroutine that hands replies to the
// requests that wait for them, and the connection ids. A socket lives on because trackers may tie a
// connection id to the port it was asked from.
type udpClient struct {
	listen  func(ctx context.Context, network string) (net.PacketConn, error)
	proxied bool // the network is "udp", of either family and of names
	retries int
	log     *slog.Logger
	readers sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	sockets map[string]*udpSocket // by network
	ids     map[endpoint]connection
}

// endpoint is a tracker's place: an address, or a name that a proxy looks up.
type endpoint struct {
	addr netip.AddrPort  // invalid: name
	name egress.NameAddr // set if addr is not
}

func (e endpoint) netAddr() net.Addr {
	if e.addr.IsValid() {
		return net.UDPAddrFromAddrPort(e.addr)
	}
	return e.name
}

// mayAnswer reports whether a reply from addr may be that of e. If a proxy looked up a name, only
// the transaction id tells.
func (e endpoint) mayAnswer(from endpoint) bool {
	return e == from || !e.addr.IsValid() && from.addr.IsValid()
}

type connection struct {
	id      uint64
	at      endpoint // the endpoint that gave it: of a name's addresses it is valid at one
	expires time.Time
}

// udpSocket is a socket and the transactions that wait for a reply on it.
type udpSocket struct {
	conn net.PacketConn
	done chan struct{} // closed when the socket is of no more use

	mu      sync.Mutex
	waiting map[uint32]waiter // by transaction id
}

type waiter struct {
	to    endpoint
	reply chan reply // buffered: the one that counts
}

type reply struct {
	b    []byte
	from endpoint
}

func newUDPClient(cfg ClientConfig) *udpClient {
	return &udpClient{
		listen:  cfg.listenPacket,
		proxied: cfg.Network.Proxied(),
		retries: udpRetries,
		log:     cfg.Logger,
		sockets: make(map[string]*udpSocket),
		ids:     make(map[endpoint]connection),
	}
}

func (u *udpClient) close() error {
	u.mu.Lock()
	u.closed = true
	var errs []error
	for _, s := range u.sockets {
		errs = append(errs, s.conn.Close())
	}
	u.mu.Unlock()
	u.readers.Wait()
	return errors.Join(errs...)
}

// connection returns the id for a tracker, if one is still valid.
func (u *udpClient) connection(to endpoint) (connection, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	c, ok := u.ids[to]
	return c, ok && time.Now().Before(c.expires)
}

func (u *udpClient) remember(to endpoint, given connection) {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	for addr, c := range u.ids { // as many as there are trackers announced to within a minute
		if !now.Before(c.expires) {
			delete(u.ids, addr)
		}
	}
	given.expires = now.Add(connectionLife)
	u.ids[to] = given
}

func (u *udpClient) forget(to endpoint) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.ids, to)
}

// socket returns the socket for an address family, or the proxy's for both, opening it if needed.
func (u *udpClient) socket(ctx context.Context, to endpoint) (*udpSocket, error) {
	network := "udp4"
	switch {
	case u.proxied:
		network = "udp"
	case to.addr.Addr().Is6():
		network = "udp6"
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return nil, ErrClosed
	}
	if s := u.sockets[network]; s != nil {
		return s, nil
	}
	conn, err := u.listen(ctx, network)
	if err != nil {
		return nil, fmt.Errorf("open %s socket: %w", network, err)
	}
	s := &udpSocket{conn: conn, done: make(chan struct{}), waiting: make(map[uint32]waiter)}
	u.sockets[network] = s
	u.readers.Go(func() {
		err := s.read()
		s.conn.Close()
		u.mu.Lock()
		delete(u.sockets, network)
		clear(u.ids) // they may be tied to the socket
		closed := u.closed
		u.mu.Unlock()
		if !closed {
			u.log.Warn("tracker socket failed", "network", network, "err", err)
		}
	})
	return s, nil
}

// read hands each reply to its waiter until the socket fails.
func (s *udpSocket) read() error {
	defer close(s.done)
	buf := make([]byte, maxPacket)
	for {
		n, from, err := s.conn.ReadFrom(buf)
		if err != nil {
			return err
		}
		if name, ok := from.(egress.NameAddr); ok { // a proxy that repeats what it was given
			s.deliver(buf[:n], endpoint{name: name})
		} else if addr, ok := addrPort(from); ok {
			s.deliver(buf[:n], endpoint{addr: addr})
		}
	}
}

// deliver copies a packet to the transaction that it answers: the id must be that of a waiting
// request, and the sender its receiver. All else is dropped.
func (s *udpSocket) deliver(b []byte, from endpoint) {
	t, _, err := splitReply(b)
	if err != nil {
		return
	}
	s.mu.Lock()
	w, ok := s.waiting[t.id]
	s.mu.Unlock()
	if !ok || !w.to.mayAnswer(from) {
		return
	}
	select {
	case w.reply <- reply{append([]byte(nil), b...), from}:
	default: // answered twice
	}
}

func addrPort(a net.Addr) (netip.AddrPort, bool) {
	u, ok := a.(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}, false
	}
	ap := u.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), ap.IsValid()
}

// register makes up a transaction id that cannot be guessed and lets w wait for it.
func (s *udpSocket) register(w waiter) uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		var b [4]byte
		rand.Read(b[:]) // never fails
		tid := binary.BigEndian.Uint32(b[:])
		if _, taken := s.waiting[tid]; !taken {
			s.waiting[tid] = w
			return tid
		}
	}
}

func (s *udpSocket) unregister(tid uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.waiting, tid)
}

// exchange sends one packet and waits for its reply, whose body it returns, and who
// sent it. The error is ErrTimeout, the tracker's *FailureError, or final.
func (u *udpClient) exchange(ctx context.Context, to endpoint, action uint32, packet func(tid uint32) []byte, timeout time.Duration) ([]byte, endpoint, error) {
	s, err := u.socket(ctx, to)
	if err != nil {
		return nil, to, err
	}
	w := waiter{to: to, reply: make(chan reply, 1)}
	tid := s.register(w)
	defer s.unregister(tid)
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	if err := s.ready(ctx, timeout); err != nil {
		return nil, to, err
	}
	if _, err := s.conn.WriteTo(packet(tid), to.netAddr()); err != nil {
		return nil, to, fmt.Errorf("send packet: %w", err)
	}
	select {
	case <-ctx.Done():
		return nil, to, ctx.Err()
	case <-s.done:
		return nil, to, fmt.Errorf("receive packet: %w", ErrClosed)
	case <-timer.C:
		return nil, to, fmt.Errorf("wait for %s: %w", to.netAddr(), ErrTimeout)
	case r := <-w.reply:
		body, err := openReply(r.b, action)
		return body, r.from, err
	}
}

// ready waits until the socket can send: that of a proxy has to be granted. That
// it is not in time counts as a packet that was lost.
func (s *udpSocket) ready(ctx context.Context, patience time.Duration) error {
	r, ok := s.conn.(interface{ Ready(context.Context) error })
	if !ok {
		return nil
	}
	inner, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := r.Ready(inner)
	switch {
	case err == nil || ctx.Err() != nil:
		return ctx.Err()
	case inner.Err() != nil:
		return fmt.Errorf("wait for the proxy to relay UDP: %w", ErrTimeout)
	}
	return fmt.Errorf("%w: %w", ErrClosed, err)
}

// openReply returns the body of a reply to a request with the given action.
func openReply(b []byte, action uint32) ([]byte, error) {
	t, body, err := splitReply(b)
	switch {
	case err != nil:
		return nil, err
	case t.action == actionError:
		return nil, &FailureError{Reason: printable(string(body[:min(len(body), maxText)]))}
	case t.action != action:
		return nil, fmt.Errorf("%w: action %d answered by %d", ErrResponse, action, t.action)
	}
	return body, nil
}
