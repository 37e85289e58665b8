package conn

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

// ErrBlocked says that there is to be nothing to do with an address.
var ErrBlocked = errors.New("address is on the blocklist, or of the proxy's own network")

// Dialer opens outgoing connections. [net.Dialer] is one, and egress.Network.
type Dialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

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
	utpTimeout  = 5 * time.Second
	dialTimeout = 10 * time.Second
	maxUTP      = 4096 // addresses remembered
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
func (e *Endpoint) connect(ctx context.Context, addr netip.AddrPort, punch bool) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if e.Blocked != nil && e.Blocked(addr.Addr()) {
		return nil, ErrBlocked
	}
	if punch {
		return e.punch(ctx, addr)
	}
	if e.UTP == nil {
		return e.Dialer.DialContext(ctx, "tcp", addr.String())
	}
	r := e.race(ctx, cancel, addr, e.utp.has(addr))
	if r.err == nil {
		e.utp.note(addr, r.utp)
	}
	return r.nc, r.err
}

// punch is a longer dial by uTP: the first packets may go out before the other
// side's router lets them in.
func (e *Endpoint) punch(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, punchTimeout)
	defer cancel()
	return e.UTP.DialContext(ctx, "udp", addr.String())
}

// dialled is how one runner of the race ended.
type dialled struct {
	nc  net.Conn
	utp bool
	err error
}

// race runs both and waits for both: cancel ends the slower one.
func (e *Endpoint) race(ctx context.Context, cancel context.CancelFunc, addr netip.AddrPort, utpFirst bool) dialled {
	ended := make(chan dialled, 2)
	go func() { ended <- e.dialBy(ctx, addr, utpFirst) }()
	lead := time.NewTimer(utpLead)
	defer lead.Stop()
	running, second := 1, false
	begin := func() {
		second = true
		running++
		go func() { ended <- e.dialBy(ctx, addr, !utpFirst) }()
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

func (e *Endpoint) dialBy(ctx context.Context, addr netip.AddrPort, utp bool) dialled {
	if !utp {
		nc, err := e.Dialer.DialContext(ctx, "tcp", addr.String())
		return dialled{nc, false, err}
	}
	ctx, cancel := context.WithTimeout(ctx, utpTimeout)
	defer cancel()
	nc, err := e.UTP.DialContext(ctx, "udp", addr.String())
	return dialled{nc, true, err}
}
