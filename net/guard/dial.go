package guard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"torrentfs/net/egress"
)

// fallbackDelay is how long one address family has a lead over the other, as
// RFC 8305 has it.
const fallbackDelay = 250 * time.Millisecond

// maxDials bounds the addresses of one name that are tried for one connection.
const maxDials = 6

// Dialer connects to hosts that torrents name. The zero value works. Its
// methods may be called from any goroutine.
type Dialer struct {
	// AllowPrivate lets names resolve to loopback and private addresses.
	AllowPrivate bool
	// Trust is the hosts for which the same holds, as the user named them.
	Trust *Trust
	// Own reports whether an address is of this machine or its network; nil is
	// [IsOwn].
	Own func(netip.Addr) bool
	// Lookup resolves a name; nil asks DNS, the system's network. Addresses are checked after it.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	// Dial connects to a checked address; nil means the system's network.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Via, if it is set, connects by name in place of Lookup and Dial: a
	// proxy that resolves names itself. See [CheckRemote].
	Via func(ctx context.Context, network, hostport string) (net.Conn, error)
}

type localKey struct{}

// WithLocal returns a context in which hosts that are written as loopback or
// private addresses may be contacted, and the public addresses of this machine: for
// a URL that the torrent itself wrote, and that can do no harm there ([IsAnnounce],
// [IsFile]). A name is still never followed to a private address, and behind a
// proxy nothing is changed: such an address would be the proxy's.
func WithLocal(ctx context.Context, local bool) context.Context {
	return context.WithValue(ctx, localKey{}, local)
}

// For returns a dialer over a network, for hosts that strangers name and for
// those that the user did.
func For(network *egress.Network, trust *Trust) *Dialer {
	if network.Proxied() {
		return &Dialer{Via: network.DialContext, Trust: trust}
	}
	return &Dialer{Lookup: network.LookupNetIP, Dial: network.DialContext, Trust: trust}
}

// Resolve returns the addresses of host that may be contacted, at least one. It is to be asked
// again for every connection. The error wraps ErrForbidden if there are only others.
func (d *Dialer) Resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if err := CheckName(host); err != nil {
		return nil, err
	}
	addrs, err := d.lookup(ctx, host)
	if err != nil {
		return nil, fmt.Errorf("resolve %s: %w", printable(host), err)
	}
	var allowed []netip.Addr
	for _, addr := range addrs {
		if addr = addr.Unmap(); IsReachable(addr) && d.allows(ctx, host, addr) {
			allowed = append(allowed, addr)
		}
	}
	if len(allowed) == 0 {
		return nil, fmt.Errorf("resolve %s: %w", printable(host), forbidden(host))
	}
	return allowed, nil
}

// forbidden is the error for a host that the user may allow.
func forbidden(host string) error {
	return fmt.Errorf("%w: it is of this machine or network (--trust-host %s allows it)", ErrForbidden, printable(host))
}

// allows reports whether a reachable address that host has led to may be contacted.
func (d *Dialer) allows(ctx context.Context, host string, addr netip.Addr) bool {
	if d.private(ctx, host) || d.Trust.Addr(addr) {
		return true
	}
	if !IsPublic(addr) {
		return false
	}
	local, _ := ctx.Value(localKey{}).(bool)
	return local || !d.own(addr)
}

func (d *Dialer) own(addr netip.Addr) bool {
	if d.Own != nil {
		return d.Own(addr)
	}
	return IsOwn(addr)
}

func (d *Dialer) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr}, nil
	}
	if d.Via != nil {
		return nil, egress.ErrProxied
	}
	if d.Lookup != nil {
		return d.Lookup(ctx, host)
	}
	return (*egress.Network)(nil).LookupNetIP(ctx, host)
}

// private reports whether addresses that are not public are allowed for host.
func (d *Dialer) private(ctx context.Context, host string) bool {
	local, _ := ctx.Value(localKey{}).(bool)
	return d.Trusts(host) || local && IsLocalName(host)
}

// Trusts reports whether the user named a host, so that a torrent may have
// anything said to it.
func (d *Dialer) Trusts(host string) bool { return d.AllowPrivate || d.Trust.Host(host) }

// CheckRemote judges a host that a proxy is to resolve, as the function of that
// name does. What the user named is for the proxy to find.
func (d *Dialer) CheckRemote(host string) error {
	if d.Trust.Host(host) {
		return CheckName(host)
	}
	if addr, err := netip.ParseAddr(host); err == nil && IsPublic(addr) && !d.AllowPrivate && d.own(addr) {
		return fmt.Errorf("dial %s: %w", printable(host), forbidden(host))
	}
	return CheckRemote(host, d.AllowPrivate)
}

// DialContext connects to an address of the host that Resolve allows. The
// families alternate, and each attempt begins when the one before has failed
// or had its lead; the first connection wins.
func (d *Dialer) DialContext(ctx context.Context, network, hostport string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	if d.Via != nil {
		if err := d.CheckRemote(host); err != nil {
			return nil, err
		}
		return d.Via(ctx, network, hostport)
	}
	addrs, err := d.Resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	return d.dialFirst(ctx, network, addrs, port)
}

func (d *Dialer) dialOne(ctx context.Context, network, addr string) (net.Conn, error) {
	if d.Dial != nil {
		return d.Dial(ctx, network, addr)
	}
	return (*egress.Network)(nil).DialContext(ctx, network, addr)
}

func (d *Dialer) dialFirst(ctx context.Context, network string, addrs []netip.Addr, port string) (net.Conn, error) {
	addrs = Interleave(addrs)
	addrs = addrs[:min(len(addrs), maxDials)]
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	type result struct {
		conn net.Conn
		err  error
	}
	results := make(chan result, len(addrs)) // no sender ever waits
	lead := time.NewTimer(fallbackDelay)
	defer lead.Stop()
	var errs []error
	started, running := 0, 0
	start := func() {
		to := net.JoinHostPort(addrs[started].String(), port)
		started++
		running++
		lead.Reset(fallbackDelay)
		go func() {
			conn, err := d.dialOne(ctx, network, to)
			results <- result{conn, err}
		}()
	}
	start()
	for running > 0 {
		select {
		case <-lead.C:
			if started < len(addrs) {
				start()
			}
		case r := <-results:
			running--
			if r.err == nil {
				cancel()
				for ; running > 0; running-- {
					if late := <-results; late.err == nil {
						late.conn.Close()
					}
				}
				return r.conn, nil
			}
			errs = append(errs, r.err)
			if started < len(addrs) {
				start()
			}
		}
	}
	return nil, errors.Join(errs...)
}

// Interleave orders addresses so that the families alternate, beginning with
// that of the first.
func Interleave(addrs []netip.Addr) []netip.Addr {
	if len(addrs) == 0 {
		return nil
	}
	var first, second []netip.Addr
	for _, a := range addrs {
		if a.Is4() == addrs[0].Is4() {
			first = append(first, a)
		} else {
			second = append(second, a)
		}
	}
	out := make([]netip.Addr, 0, len(addrs))
	for i := range max(len(first), len(second)) {
		if i < len(first) {
			out = append(out, first[i])
		}
		if i < len(second) {
			out = append(out, second[i])
		}
	}
	return out
}
