package swarm

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

// errBlocked says that there is to be nothing to do with an address.
var errBlocked = errors.New("address is on the blocklist, or of the proxy's own network")

// Transport is a way to peers beside TCP; package utp has one.
type Transport interface {
	net.Listener
	Dialer
}

const (
	// utpLead is how long TCP is tried alone: a peer that takes it is there
	// sooner in nearly every case, and TCP costs less of this computer.
	utpLead = 400 * time.Millisecond
	// utpTimeout is shorter than that of TCP, so that peers that take neither
	// do not hold their places for long.
	utpTimeout = 5 * time.Second
	maxUTP     = 4096 // addresses remembered
	// punchTimeout has room for four SYNs, a second, two and four apart.
	punchTimeout = 8 * time.Second
)

// utpPeers are addresses that answered by uTP and not, or later, by TCP. There
// uTP gets the lead the next time.
type utpPeers struct {
	mu    sync.Mutex // a leaf
	addrs map[netip.AddrPort]struct{}
}

func (u *utpPeers) has(a netip.AddrPort) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	_, ok := u.addrs[a]
	return ok
}

func (u *utpPeers) note(a netip.AddrPort, utp bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !utp {
		delete(u.addrs, a)
		return
	}
	if u.addrs == nil || len(u.addrs) >= maxUTP {
		u.addrs = map[netip.AddrPort]struct{}{}
	}
	u.addrs[a] = struct{}{}
}

// connect makes a connection, by TCP or uTP, whichever is there first; the one
// that did not work the last time begins later. With punch it is uTP alone.
func (s *Session) connect(ctx context.Context, addr netip.AddrPort, punch bool) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if s.cfg.Blocked != nil && s.cfg.Blocked(addr.Addr()) {
		return nil, errBlocked
	}
	if punch {
		return s.punch(ctx, addr)
	}
	if s.cfg.UTP == nil {
		return s.cfg.Dialer.DialContext(ctx, "tcp", addr.String())
	}
	r := s.race(ctx, cancel, addr, s.utp.has(addr))
	if r.err == nil {
		s.utp.note(addr, r.utp)
	}
	return r.nc, r.err
}

// punch is a longer dial by uTP: the first packets may go out before the other
// side's router lets them in.
func (s *Session) punch(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, punchTimeout)
	defer cancel()
	return s.cfg.UTP.DialContext(ctx, "udp", addr.String())
}

// dialled is how one runner of the race ended.
type dialled struct {
	nc  net.Conn
	utp bool
	err error
}

// race runs both and waits for both: cancel ends the slower one.
func (s *Session) race(ctx context.Context, cancel context.CancelFunc, addr netip.AddrPort, utpFirst bool) dialled {
	ended := make(chan dialled, 2)
	go func() { ended <- s.dialBy(ctx, addr, utpFirst) }()
	lead := time.NewTimer(utpLead)
	defer lead.Stop()
	running, second := 1, false
	begin := func() {
		second = true
		running++
		go func() { ended <- s.dialBy(ctx, addr, !utpFirst) }()
	}
	var first dialled // to fail
	for {
		select {
		case <-lead.C:
			if !second {
				begin()
			}
			continue
		case r := <-ended:
			running--
			if r.err == nil {
				cancel()
				for ; running > 0; running-- {
					if late := <-ended; late.err == nil {
						late.nc.Close()
					}
				}
				return r
			}
			if first.err == nil {
				first = r
			}
		}
		if !second && ctx.Err() == nil {
			begin()
		}
		if running == 0 {
			return first
		}
	}
}

func (s *Session) dialBy(ctx context.Context, addr netip.AddrPort, utp bool) dialled {
	if !utp {
		nc, err := s.cfg.Dialer.DialContext(ctx, "tcp", addr.String())
		return dialled{nc, false, err}
	}
	ctx, cancel := context.WithTimeout(ctx, utpTimeout)
	defer cancel()
	nc, err := s.cfg.UTP.DialContext(ctx, "udp", addr.String())
	return dialled{nc, true, err}
}
