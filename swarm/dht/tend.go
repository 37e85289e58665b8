package dht

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	library "github.com/anacrolix/dht/v2"
	"github.com/anacrolix/dht/v2/krpc"
)

const (
	enoughNodes   = 8                // good ones; with fewer, others are asked for help
	plentyNodes   = 200              // in the table; with more, hints are not followed
	tendInterval  = 2 * time.Second  // between looks at the table
	firstRescue   = 5 * time.Second  // until the next, after a rescue in vain; doubles
	longestRescue = 5 * time.Minute  // between rescues
	savedLead     = 3 * time.Second  // that nodes of the last run have before bootstrap nodes are asked
	idLife        = 10 * time.Minute // of an id at least, however our address changes
	queryTimeout  = 5 * time.Second
	lookupTimeout = 10 * time.Second // of a name
	parallel      = 8                // queries of one rescue at once
)

// tend maintains a server until ctx ends or it has to be replaced: it follows hints, and looks for
// nodes when too few are known.
func (n *node) tend(ctx context.Context, s *server) {
	wait := firstRescue
	next := time.Now()
	if s.NumNodes() > 0 {
		next = next.Add(savedLead)
	}
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case addr := <-n.hints:
			if s.NumNodes() < plentyNodes {
				n.ask(ctx, s, n.gather(addr))
			}
		case host := <-n.hosts:
			if s.NumNodes() < plentyNodes {
				n.ask(ctx, s, n.resolve(ctx, []string{host}, false))
			}
		case <-n.moved:
			wait, next = firstRescue, time.Now()
			t.Reset(0)
		case <-t.C:
			t.Reset(tendInterval)
			if n.misplaced(s) {
				return
			}
			if s.Server.Stats().GoodNodes >= enoughNodes {
				wait, next = firstRescue, time.Now()
			} else if !time.Now().Before(next) {
				n.rescue(ctx, s)
				next = time.Now().Add(wait)
				wait = min(2*wait, longestRescue)
			}
		}
	}
}

// misplaced reports whether the id does not fit our address (BEP 42), which the next server is to
// correct.
func (n *node) misplaced(s *server) bool {
	addr := n.host.address()
	if !addr.IsValid() || idFits(s.ID(), addr) || time.Since(n.changed) < idLife {
		return false
	}
	n.changed = time.Now()
	n.logger.Debug("choose DHT id for own address", "addr", addr)
	return true
}

// gather returns first and the other hints that wait, as many as are asked at once.
func (n *node) gather(first netip.AddrPort) []netip.AddrPort {
	out := []netip.AddrPort{first}
	for len(out) < parallel {
		select {
		case addr := <-n.hints:
			out = append(out, addr)
		default:
			return out
		}
	}
	return out
}

// rescue asks the bootstrap nodes for nodes, and those for others.
func (n *node) rescue(ctx context.Context, s *server) {
	n.ask(ctx, s, n.resolve(ctx, n.cfg.Bootstrap, true))
	if ctx.Err() != nil || s.NumNodes() == 0 {
		return
	}
	if _, err := s.BootstrapContext(ctx); err != nil {
		n.logger.Debug("look for DHT nodes", "err", err)
	}
}

// ask asks addresses for nodes near us. A node that replies is in the library's table when it
// returns, if there is room.
func (n *node) ask(ctx context.Context, s *server, addrs []netip.AddrPort) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	var wg sync.WaitGroup
	slots := make(chan struct{}, parallel)
	for _, addr := range addrs {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			input := library.QueryInput{MsgArgs: krpc.MsgArgs{Target: s.ID()}}
			if n.sibling != nil {
				input.MsgArgs.Want = []krpc.Want{krpc.WantNodes, krpc.WantNodes6}
			}
			r := s.Query(ctx, library.NewAddr(udpAddr(addr)), "find_node", input)
			if r.Err != nil {
				n.logger.Debug("ask DHT node", "addr", addr, "err", r.Err)
				return
			}
			if r.Reply.R == nil {
				return
			}
			for _, k := range slices.Concat([]krpc.NodeInfo(r.Reply.R.Nodes), []krpc.NodeInfo(r.Reply.R.Nodes6)) {
				_ = s.AddNode(k)
			}
		})
	}
	wg.Wait()
}

// resolve returns the addresses of our family that hosts have. Names that
// strangers chose must not lead into private networks.
func (n *node) resolve(ctx context.Context, hosts []string, trusted bool) (out []netip.AddrPort) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	var (
		mu sync.Mutex
		wg sync.WaitGroup
	)
	for _, hostport := range hosts {
		name, portText, err := net.SplitHostPort(hostport)
		port, portErr := strconv.ParseUint(portText, 10, 16)
		if err != nil || portErr != nil {
			n.logger.Debug("resolve DHT node: no host:port", "node", hostport)
			continue
		}
		wg.Go(func() {
			addrs, literal := []netip.Addr(nil), true
			if a, err := netip.ParseAddr(name); err == nil {
				addrs = []netip.Addr{a}
			} else if n.cfg.ByName != nil {
				n.askByName(name, uint16(port), trusted)
				return
			} else {
				literal = false
				if addrs, err = n.cfg.Lookup(ctx, name); err != nil {
					n.logger.Debug("resolve DHT node", "node", hostport, "err", err)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			for _, a := range addrs[:min(len(addrs), parallel)] {
				ap := netip.AddrPortFrom(a.Unmap(), uint16(port))
				if ap.Addr().Is6() == n.v6 && usable(ap) && (trusted || literal || !specialAddr(ap.Addr())) {
					out = append(out, ap)
				}
			}
		})
	}
	wg.Wait()
	return out
}
