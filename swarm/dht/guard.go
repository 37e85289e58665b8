package dht

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"torrentfs/metainfo/bencode"
)

const (
	maxPending  = 2048             // queries of ours without a reply
	pendingLife = 10 * time.Second // of one; the library gives up after 2 s
	readPause   = 200 * time.Millisecond
	maxAnswer   = 1500 // bytes: no answer of ours is longer
)

var (
	errStopping = errors.New("DHT node is stopping")
	errRefused  = errors.New("address cannot be a node")
)

// guard is the socket as the library sees it. What comes in is parsed, judged
// and written anew; what goes out gets a random transaction id. It also
// answers queries, so that the library never has to.
type guard struct {
	// immutable
	conn    net.PacketConn
	v6      bool
	id      nodeID
	host    *host
	answers bool          // false: read-only (BEP 43)
	out     *rate.Limiter // bytes of answers
	client  string        // "v" of what we send
	ignore  func(netip.Addr) bool
	foreign func([]nodeInfo) // nodes of the other family (BEP 32)
	names   *names           // nodes that were asked by name; shared with the other family
	hint    func(netip.AddrPort)
	logger  *slog.Logger

	stopping chan struct{} // closed by stop
	drained  chan struct{} // closed once every open query has been answered
	closed   chan struct{} // closed by Close

	closeOnce, stopOnce sync.Once

	mu      sync.Mutex
	pending map[pendingKey]pendingQuery
	noise   noise
	swept   time.Time // of pending
	stopped bool
	counts  counts
}

type pendingKey struct {
	addr netip.AddrPort
	tid  [4]byte
}

type pendingQuery struct {
	tid  string // as the library knows it
	sent time.Time
}

// counts are a guard's part of Stats.
type counts struct {
	received, malformed, unasked, ignored, answered, withheld, sent int64
}

var _ net.PacketConn = (*guard)(nil)

// ReadFrom returns the next packet that the library may see. It returns no
// error before Close: the library would end the process with it.
func (g *guard) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		select {
		case <-g.stopping:
			return g.drain(p)
		default:
		}
		n, from, err := g.conn.ReadFrom(p)
		if err != nil {
			g.pause(err)
			continue
		}
		ap, ok := addrPortOf(from)
		if !ok {
			continue
		}
		if b := g.receive(time.Now(), p[:n], ap, from); b != nil && len(b) <= len(p) {
			return copy(p, b), udpAddr(ap), nil
		}
	}
}

// pause waits while a socket does not work: until it may work again, for errors of a network that
// comes and goes; until stop, if it was closed.
func (g *guard) pause(err error) {
	if errors.Is(err, net.ErrClosed) {
		<-g.stopping
		return
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return // stop's wake-up, or a deadline that another owner of the socket forgot
	}
	g.logger.Debug("read DHT socket", "err", err)
	t := time.NewTimer(readPause)
	defer t.Stop()
	select {
	case <-t.C:
	case <-g.stopping:
	}
}

// drain answers what the library still waits for with errors, one by one, so
// that nothing keeps its queries for their two seconds; then it blocks.
func (g *guard) drain(p []byte) (int, net.Addr, error) {
	g.mu.Lock()
	for key, q := range g.pending {
		delete(g.pending, key)
		g.mu.Unlock()
		m := message{kind: 'e', code: 201, text: errStopping.Error()}
		b, err := m.forLibrary(q.tid)
		if err != nil {
			g.mu.Lock()
			continue
		}
		return copy(p, b), udpAddr(key.addr), nil
	}
	g.mu.Unlock()
	select {
	case <-g.drained:
	default:
		close(g.drained) // one goroutine reads
	}
	<-g.closed
	return 0, nil, net.ErrClosed
}

// stop refuses queries from now on and fails those under way.
func (g *guard) stop() {
	g.stopOnce.Do(func() {
		g.mu.Lock()
		g.stopped = true
		g.mu.Unlock()
		close(g.stopping)
		_ = g.conn.SetReadDeadline(time.Unix(1, 0)) // wakes ReadFrom
	})
}

// receive judges a datagram, answers it if it is a query, and returns what the library gets of it,
// nil for nothing. The socket's own form of the address, back, is what is answered: it may say more
// (udpmux.Addr).
func (g *guard) receive(now time.Time, b []byte, from netip.AddrPort, back net.Addr) []byte {
	if from.Addr().Is6() != g.v6 || !usable(from) || g.ignore(from.Addr()) {
		g.count(func(c *counts) { c.ignored++ })
		return nil
	}
	m, err := parseMessage(b)
	g.mu.Lock()
	g.counts.received++
	if err != nil {
		g.counts.malformed++
		g.noise.allow(now, from.Addr())
		g.mu.Unlock()
		return nil
	}
	libraryTID := m.tid
	if m.kind == 'q' {
		if !g.noise.allow(now, from.Addr()) || m.id == g.id || g.stopped {
			g.counts.ignored++
			g.mu.Unlock()
			return nil
		}
	} else {
		q, ok := g.take(from, m.tid)
		if !ok && m.kind == 'r' && g.names.take(m.tid, from) {
			g.mu.Unlock()
			g.hint(from)
			return nil
		}
		if !ok {
			g.counts.unasked++
			g.noise.allow(now, from.Addr())
			g.mu.Unlock()
			return nil
		}
		libraryTID = q.tid
	}
	g.mu.Unlock()

	switch m.kind {
	case 'q':
		if g.answers {
			g.answer(now, from, back, &m)
		}
	case 'r':
		g.host.heard(now, nodeInfo{m.id, from}, m.self.Addr())
		g.screen(&m, from)
	}
	out, err := m.forLibrary(libraryTID)
	if err != nil {
		return nil
	}
	return out
}

// take ends the query that a reply belongs to. The caller holds mu.
func (g *guard) take(from netip.AddrPort, tid string) (pendingQuery, bool) {
	if len(tid) != 4 {
		return pendingQuery{}, false
	}
	key := pendingKey{from, [4]byte([]byte(tid))}
	q, ok := g.pending[key]
	delete(g.pending, key)
	return q, ok
}

// answer sends the reply to a query, unless its bytes are more than we give.
func (g *guard) answer(now time.Time, from netip.AddrPort, back net.Addr, m *message) {
	var b []byte
	if g.out.TokensAt(now) >= maxAnswer { // else it is not worth making
		if b = g.host.answer(now, g.id, from, m, g.client); b == nil {
			return
		}
	}
	if b == nil || !g.out.AllowN(now, len(b)) {
		g.count(func(c *counts) { c.withheld++ })
		return
	}
	if _, err := g.conn.WriteTo(b, back); err == nil {
		g.count(func(c *counts) { c.answered++; c.sent += int64(len(b)) })
	}
}

// screen leaves in a reply what its sender can know: addresses that can be reached, private ones
// only from a sender with such an address, and one node for each host. Nodes of the other family go
// to that one.
func (g *guard) screen(m *message, from netip.AddrPort) {
	own, other := m.nodes, m.nodes6
	if g.v6 {
		own, other = other, own
	}
	own, other = g.screenNodes(own, from), g.screenNodes(other, from)
	if len(other) > 0 {
		g.foreign(other)
	}
	m.nodes, m.nodes6 = own, nil
	if g.v6 {
		m.nodes, m.nodes6 = nil, own
	}
	values := m.values[:0]
	for _, v := range m.values {
		if g.plausible(v, from) {
			values = append(values, v)
		}
	}
	m.values = values
}

func (g *guard) screenNodes(nodes []nodeInfo, from netip.AddrPort) []nodeInfo {
	out := nodes[:0]
	for _, n := range nodes {
		if n.id == g.id || !g.plausible(n.addr, from) {
			continue
		}
		again := false
		for _, o := range out {
			again = again || o.addr == n.addr ||
				o.addr.Addr() == n.addr.Addr() && !specialAddr(n.addr.Addr())
		}
		if !again {
			out = append(out, n)
		}
	}
	return out
}

func (g *guard) plausible(ap, from netip.AddrPort) bool {
	return usable(ap) && !g.ignore(ap.Addr()) &&
		(!specialAddr(ap.Addr()) || specialAddr(from.Addr()))
}

// WriteTo sends a query of the library. It sends nothing else: OnQuery keeps
// it from answering.
func (g *guard) WriteTo(b []byte, to net.Addr) (int, error) {
	ap, ok := addrPortOf(to)
	if !ok || ap.Addr().Is6() != g.v6 || !usable(ap) || g.ignore(ap.Addr()) {
		return 0, errRefused
	}
	d, _, err := bencode.DecodeDict(b, messageLimits)
	if err != nil {
		return 0, fmt.Errorf("read own query: %w", err)
	}
	if kind, _ := bencode.Get[string](d, "y"); kind != "q" {
		return len(b), nil
	}
	tid, err := d.String("t")
	if err != nil {
		return 0, fmt.Errorf("read own query: %w", err)
	}
	key, err := g.open(time.Now(), ap, tid)
	if err != nil {
		return 0, err
	}
	d["t"] = string(key.tid[:])
	d["v"] = g.client
	out, err := bencode.Encode(d)
	if err == nil {
		_, err = g.conn.WriteTo(out, udpAddr(ap))
	}
	if err != nil {
		g.mu.Lock()
		delete(g.pending, key)
		g.mu.Unlock()
		return 0, fmt.Errorf("send query: %w", err)
	}
	g.count(func(c *counts) { c.sent += int64(len(out)) })
	return len(b), nil
}

// open notes that a query is about to be sent.
func (g *guard) open(now time.Time, to netip.AddrPort, tid string) (pendingKey, error) {
	key := pendingKey{addr: to}
	_, _ = rand.Read(key.tid[:]) // never fails
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopped {
		return key, errStopping
	}
	if len(g.pending) >= maxPending || now.Sub(g.swept) >= pendingLife {
		g.swept = now
		for k, q := range g.pending {
			if now.Sub(q.sent) >= pendingLife {
				delete(g.pending, k)
			}
		}
	}
	if len(g.pending) >= maxPending {
		return key, fmt.Errorf("send query: %d are unanswered", maxPending)
	}
	g.pending[key] = pendingQuery{tid, now}
	return key, nil
}

func (g *guard) count(f func(*counts)) {
	g.mu.Lock()
	f(&g.counts)
	g.mu.Unlock()
}

// Close ends ReadFrom. The socket stays open: it is the caller's of New.
func (g *guard) Close() error {
	g.stop()
	g.closeOnce.Do(func() { close(g.closed) })
	return nil
}

func (g *guard) LocalAddr() net.Addr              { return g.conn.LocalAddr() }
func (g *guard) SetDeadline(time.Time) error      { return nil }
func (g *guard) SetReadDeadline(time.Time) error  { return nil }
func (g *guard) SetWriteDeadline(time.Time) error { return nil }

// usable reports whether a datagram to ap can have one receiver.
func usable(ap netip.AddrPort) bool {
	a := ap.Addr()
	return ap.Port() != 0 && a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() && a.Zone() == "" &&
		!(a.Is4() && (a.As4()[0] == 0 || a.As4()[0] >= 240))
}

func addrPortOf(a net.Addr) (netip.AddrPort, bool) {
	u, ok := a.(interface{ AddrPort() netip.AddrPort })
	if !ok {
		return netip.AddrPort{}, false
	}
	ap := u.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), ap.Addr().IsValid()
}

func udpAddr(ap netip.AddrPort) *net.UDPAddr { return net.UDPAddrFromAddrPort(ap) }
