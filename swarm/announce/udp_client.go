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
)

const (
	connectionLife = 60 * time.Second // of a connection id, for the client (BEP 15)
	maxPacket      = 16 << 10         // bytes read of a reply; more peers than that are not needed
)

// udpClient owns one socket per address family, each with a goroutine that
// hands replies to whoever waits for them, and the connection ids. A socket
// lives on because trackers may tie a connection id to the port it was asked
// from.
type udpClient struct {
	listen  func(ctx context.Context, network string) (net.PacketConn, error)
	retries int
	log     *slog.Logger
	readers sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	sockets map[string]*udpSocket // by network
	ids     map[netip.AddrPort]connection
}

type connection struct {
	id      uint64
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
	from  netip.AddrPort
	reply chan []byte // buffered: the one reply that counts
}

func newUDPClient(cfg ClientConfig) *udpClient {
	return &udpClient{
		listen:  cfg.ListenPacket,
		retries: cfg.UDPRetries,
		log:     cfg.Logger,
		sockets: make(map[string]*udpSocket),
		ids:     make(map[netip.AddrPort]connection),
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
func (u *udpClient) connection(to netip.AddrPort) (uint64, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	c, ok := u.ids[to]
	return c.id, ok && time.Now().Before(c.expires)
}

func (u *udpClient) remember(to netip.AddrPort, id uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	for addr, c := range u.ids { // as many as there are trackers announced to within a minute
		if !now.Before(c.expires) {
			delete(u.ids, addr)
		}
	}
	u.ids[to] = connection{id, now.Add(connectionLife)}
}

func (u *udpClient) forget(to netip.AddrPort) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.ids, to)
}

// socket returns the socket for an address family, opening it where needed.
func (u *udpClient) socket(ctx context.Context, to netip.Addr) (*udpSocket, error) {
	network := "udp4"
	if to.Is6() {
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
		if addr, ok := addrPort(from); ok {
			s.deliver(buf[:n], addr)
		}
	}
}

// deliver copies a packet to the transaction that it answers: the id must be
// one that waits, and the sender the one it was sent to. All else is dropped.
func (s *udpSocket) deliver(b []byte, from netip.AddrPort) {
	t, _, err := splitReply(b)
	if err != nil {
		return
	}
	s.mu.Lock()
	w, ok := s.waiting[t.id]
	s.mu.Unlock()
	if !ok || w.from != from {
		return
	}
	select {
	case w.reply <- append([]byte(nil), b...):
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

// register makes up a transaction id that nobody could guess and lets w wait for it.
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

// exchange sends one packet and waits for its reply, whose body it returns. The
// error is ErrTimeout, the tracker's *FailureError, or final.
func (u *udpClient) exchange(ctx context.Context, to netip.AddrPort, action uint32, packet func(tid uint32) []byte, timeout time.Duration) ([]byte, error) {
	s, err := u.socket(ctx, to.Addr())
	if err != nil {
		return nil, err
	}
	w := waiter{from: to, reply: make(chan []byte, 1)}
	tid := s.register(w)
	defer s.unregister(tid)
	if _, err := s.conn.WriteTo(packet(tid), net.UDPAddrFromAddrPort(to)); err != nil {
		return nil, fmt.Errorf("send packet: %w", err)
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-s.done:
		return nil, fmt.Errorf("receive packet: %w", ErrClosed)
	case <-timer.C:
		return nil, fmt.Errorf("wait for %s: %w", to, ErrTimeout)
	case b := <-w.reply:
		return openReply(b, action)
	}
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
