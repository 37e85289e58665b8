package dht

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	library "github.com/anacrolix/dht/v2"
	"github.com/anacrolix/dht/v2/krpc"
	liblog "github.com/anacrolix/log"
	"golang.org/x/time/rate"

	"torrentfs/internal/version"
)

const maxHints = 64 // addresses that wait to be asked

// placeholder is what the library gets for a starting node if there is none: it leaks a goroutine
// if it gets nothing, and never asks an address in 0.0.0.0/8.
var placeholder = netip.AddrPortFrom(netip.AddrFrom4([4]byte{0, 0, 0, 1}), 1)

// node is one address family.
type node struct {
	// immutable
	cfg     *Config
	conn    net.PacketConn
	v6      bool
	host    *host
	sibling *node
	hints   chan netip.AddrPort
	hosts   chan string
	moved   chan struct{} // the network changed; holds one token
	lanes   lanes
	names   *names
	logger  *slog.Logger

	// owned by run
	rnd     *rand.Rand
	changed time.Time // when an id was last replaced for one that fits our address

	mu       sync.Mutex
	srv      *server       // nil while none runs
	started  chan struct{} // closed when srv is set; replaced when it is unset
	saved    saved         // from the last server, or the file
	previous counts        // of servers before srv
}

// server is one run of the library's server with its guard.
type server struct {
	*library.Server
	guard      *guard
	maintained chan struct{} // closed when the library's maintenance has ended
}

func newNode(cfg *Config, conn net.PacketConn, v6 bool, s saved, rnd *rand.Rand) *node {
	n := &node{
		cfg:     cfg,
		conn:    conn,
		v6:      v6,
		host:    newHost(v6, rand.New(rand.NewPCG(rnd.Uint64(), rnd.Uint64()))),
		hints:   make(chan netip.AddrPort, maxHints),
		hosts:   make(chan string, maxHints),
		moved:   make(chan struct{}, 1),
		lanes:   newLanes(),
		names:   newNames(),
		logger:  cfg.Logger,
		rnd:     rnd,
		started: make(chan struct{}),
		saved:   s,
	}
	return n
}

// join makes two families know each other (BEP 32).
func (n *node) join(other *node) {
	n.sibling, n.host.sibling = other, other.host
	if n.v6 {
		n.names = other.names // a name may lead to either
	}
}

func (n *node) hint(addr netip.AddrPort) {
	select {
	case n.hints <- addr:
	default: // enough others are waiting
	}
}

// run keeps a server until ctx ends.
func (n *node) run(ctx context.Context) {
	for ctx.Err() == nil {
		s, err := n.start()
		if err != nil {
			n.logger.Warn("start DHT node", "err", err)
			return
		}
		n.tend(ctx, s)
		n.stop(s)
	}
}

func (n *node) start() (*server, error) {
	n.mu.Lock()
	last := n.saved
	n.mu.Unlock()
	addr := n.host.address()
	if last.id == (nodeID{}) || addr.IsValid() && !idFits(last.id, addr) {
		last.id = newID(n.rnd, addr)
	}
	g := n.newGuard(last.id)
	cfg := &library.ServerConfig{
		NodeId:     last.id,
		Conn:       g,
		Passive:    n.cfg.ReadOnly,
		NoSecurity: true, // too many nodes have any id to do without them
		OnQuery:    func(*krpc.Msg, net.Addr) bool { return false },
		StartingNodes: func() ([]library.Addr, error) {
			return []library.Addr{library.NewAddr(udpAddr(placeholder))}, nil
		},
		SendLimiter: rate.NewLimiter(rate.Limit(n.cfg.queryRate), 25),
		Logger:      libraryLogger(n.logger),
	}
	if n.sibling != nil {
		cfg.DefaultWant = []krpc.Want{krpc.WantNodes, krpc.WantNodes6}
	}
	_ = n.conn.SetReadDeadline(time.Time{}) // a server before this one may have been stopped by it
	lib, err := library.NewServer(cfg)
	if err != nil {
		return nil, err
	}
	s := &server{Server: lib, guard: g, maintained: make(chan struct{})}
	for _, k := range last.nodes {
		if usable(k.addr) {
			_ = lib.AddNode(krpc.NodeInfo{ID: k.id, Addr: krpc.NodeAddr{IP: k.addr.Addr().AsSlice(), Port: int(k.addr.Port())}})
		}
	}
	go func() {
		defer close(s.maintained)
		lib.TableMaintainer()
	}()
	n.mu.Lock()
	n.srv, n.saved.id = s, last.id
	close(n.started)
	n.mu.Unlock()
	return s, nil
}

func (n *node) newGuard(id nodeID) *guard {
	return &guard{
		conn:    n.conn,
		v6:      n.v6,
		id:      id,
		host:    n.host,
		answers: !n.cfg.ReadOnly,
		out:     rate.NewLimiter(sendRate, max(2*sendRate, maxPacket)),
		client:  version.DHT,
		ignore:  n.cfg.Ignore,
		foreign: func(nodes []nodeInfo) {
			if n.sibling != nil {
				for _, k := range nodes {
					n.sibling.hint(k.addr)
				}
			}
		},
		names:    n.names,
		hint:     n.hint,
		logger:   n.logger,
		stopping: make(chan struct{}),
		drained:  make(chan struct{}),
		closed:   make(chan struct{}),
		pending:  make(map[pendingKey]pendingQuery),
	}
}

// stop ends a server and waits for what it started.
func (n *node) stop(s *server) {
	last := s.save(n.host)
	s.guard.stop()
	<-s.guard.drained
	s.Close()
	<-s.maintained
	<-s.guard.closed
	n.mu.Lock()
	defer n.mu.Unlock()
	n.srv = nil
	n.started = make(chan struct{})
	if len(last.nodes) > 0 {
		n.saved = last
	}
	s.guard.mu.Lock()
	defer s.guard.mu.Unlock()
	n.previous = n.previous.plus(s.guard.counts)
}

// save returns the server's id and the nodes worth keeping, those that
// replied last first.
func (s *server) save(h *host) saved {
	out := saved{id: s.ID()}
	type aged struct {
		nodeInfo
		at time.Time
	}
	var nodes []aged
	for _, k := range s.Nodes() {
		a, ok := netip.AddrFromSlice(k.Addr.IP)
		ap := netip.AddrPortFrom(a.Unmap(), uint16(k.Addr.Port))
		if at := h.lastReply(ap); ok && !at.IsZero() {
			nodes = append(nodes, aged{nodeInfo{k.ID, ap}, at})
		}
	}
	slices.SortFunc(nodes, func(a, b aged) int { return b.at.Compare(a.at) })
	for _, k := range nodes[:min(len(nodes), maxSaved)] {
		out.nodes = append(out.nodes, k.nodeInfo)
	}
	return out
}

// save returns this family's state for the next run.
func (n *node) save() saved {
	n.mu.Lock()
	s, last := n.srv, n.saved
	n.mu.Unlock()
	if s != nil {
		if now := s.save(n.host); len(now.nodes) > 0 {
			return now
		}
	}
	return last
}

func (n *node) stats() FamilyStats {
	n.mu.Lock()
	s, c := n.srv, n.previous
	n.mu.Unlock()
	var out FamilyStats
	if s != nil {
		lib := s.Server.Stats()
		out.Good, out.Nodes = lib.GoodNodes, lib.Nodes
		s.guard.mu.Lock()
		c = c.plus(s.guard.counts)
		out.Noisy = s.guard.noise.blocked(time.Now())
		s.guard.mu.Unlock()
	}
	n.host.mu.Lock()
	out.External, out.Swarms = n.host.addr, len(n.host.store.swarms)
	n.host.mu.Unlock()
	out.Received, out.Malformed, out.Unasked, out.Ignored = c.received, c.malformed, c.unasked, c.ignored
	out.Answered, out.Withheld, out.Sent = c.answered, c.withheld, c.sent
	return out
}

func (c counts) plus(o counts) counts {
	return counts{
		c.received + o.received, c.malformed + o.malformed, c.unasked + o.unasked, c.ignored + o.ignored,
		c.answered + o.answered, c.withheld + o.withheld, c.sent + o.sent,
	}
}

// libraryLogger passes on the library's warnings. Its other lines are about every packet.
func libraryLogger(to *slog.Logger) liblog.Logger {
	l := liblog.NewLogger("dht").WithFilterLevel(liblog.Warning)
	l.SetHandlers(libraryHandler{to})
	return l
}

type libraryHandler struct{ to *slog.Logger }

func (h libraryHandler) Handle(r liblog.Record) { h.to.Debug("DHT library", "msg", r.Text()) }
