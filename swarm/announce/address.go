package announce

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"strings"
)

// target is a tracker URL that has been found usable.
type target struct {
	url   *url.URL
	local bool // written as a loopback or private address, so that one may be reached
}

// parseTarget checks a tracker's URL as a .torrent spells it. A host that is
// written as a loopback or private address is allowed (somebody's own tracker
// at home), but only with an announce path, so that a torrent cannot make us
// press the buttons of other services there.
func parseTarget(raw string) (target, error) {
	u, err := url.Parse(strings.TrimSpace(raw))
	if err != nil {
		return target{}, fmt.Errorf("parse tracker URL: %w", ErrURL) // err would repeat a passkey
	}
	switch u.Scheme {
	case "http", "https":
	case "udp":
		if u.Port() == "" {
			return target{}, fmt.Errorf("parse tracker URL: no port: %w", ErrURL)
		}
	default:
		return target{}, fmt.Errorf("parse tracker URL: scheme %q: %w", printable(u.Scheme), ErrURL)
	}
	if err := checkHost(u.Hostname()); err != nil {
		return target{}, err
	}
	t := target{url: u, local: isLocalHost(u.Hostname())}
	if t.local && u.Scheme != "udp" && !isAnnouncePath(u.Path) {
		return target{}, fmt.Errorf("%w: %s without an announce path", ErrForbidden, u.Hostname())
	}
	return t, nil
}

// checkHost refuses names that must not reach DNS.
func checkHost(host string) error {
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	switch {
	case name == "":
		return fmt.Errorf("parse tracker URL: no host: %w", ErrURL)
	case strings.HasSuffix(name, ".i2p"), strings.HasSuffix(name, ".onion"):
		return fmt.Errorf("resolve %s: %w: name outside DNS", printable(host), ErrForbidden)
	}
	return nil
}

func isAnnouncePath(p string) bool {
	base := path.Base(p)
	return strings.Contains(base, "announce") || strings.Contains(base, "scrape")
}

// isLocalHost reports whether host is written as an address that is not public.
func isLocalHost(host string) bool {
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(name)
	return err == nil && !isPublic(addr)
}

// special are the ranges without a public peer or tracker that netip has no
// method for.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),       // this network
	netip.MustParsePrefix("100.64.0.0/10"),   // carrier-grade NAT
	netip.MustParsePrefix("192.0.0.0/24"),    // protocol assignments
	netip.MustParsePrefix("198.18.0.0/15"),   // benchmarks
	netip.MustParsePrefix("240.0.0.0/4"),     // reserved, broadcast
	netip.MustParsePrefix("fec0::/10"),       // site-local, deprecated
	netip.MustParsePrefix("::/96"),           // IPv4-compatible, deprecated
	netip.MustParsePrefix("64:ff9b:1::/48"),  // local NAT64
	netip.MustParsePrefix("::ffff:0:0:0/96"), // SIIT
}

var (
	nat64 = netip.MustParsePrefix("64:ff9b::/96")
	sixTo = netip.MustParsePrefix("2002::/16")
)

// isPublic reports whether addr belongs to the Internet at large: not to this
// host, this network, a group, or nobody. Addresses that carry an IPv4 address
// inside are judged by that.
func isPublic(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		b := addr.As16()
		switch {
		case nat64.Contains(addr):
			return isPublic(netip.AddrFrom4([4]byte(b[12:])))
		case sixTo.Contains(addr):
			return isPublic(netip.AddrFrom4([4]byte(b[2:6])))
		}
	}
	if !addr.IsGlobalUnicast() || addr.IsPrivate() {
		return false
	}
	for _, p := range special {
		if p.Contains(addr) {
			return false
		}
	}
	return true
}

// reachable reports whether a packet to addr can have one receiver.
func reachable(addr netip.Addr) bool {
	addr = addr.Unmap()
	return addr.IsValid() && !addr.IsUnspecified() && !addr.IsMulticast() &&
		addr != netip.AddrFrom4([4]byte{255, 255, 255, 255}) &&
		!(addr.Is4() && addr.As4()[0] == 0)
}

// resolve returns the addresses of host that may be contacted. It is asked
// again for every connection, and the connection is made to what it returned:
// a name that changes its mind between check and use gains nothing. local says
// that the torrent wrote its tracker as a local one.
func (c *Client) resolve(ctx context.Context, host string, local bool) ([]netip.Addr, error) {
	if err := checkHost(host); err != nil {
		return nil, err
	}
	addrs, err := c.lookup(ctx, host)
	if err != nil {
		return nil, fmt.Errorf("resolve %s: %w", printable(host), err)
	}
	private := c.cfg.AllowPrivate || local && isLocalHost(host)
	var allowed []netip.Addr
	for _, addr := range addrs {
		if addr = addr.Unmap(); reachable(addr) && (private || isPublic(addr)) {
			allowed = append(allowed, addr)
		}
	}
	if len(allowed) == 0 {
		return nil, fmt.Errorf("resolve %s: %w", printable(host), ErrForbidden)
	}
	return allowed, nil
}

func (c *Client) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr}, nil
	}
	return c.cfg.Lookup(ctx, host)
}

// localKey is the context key under which an HTTP announce tells the dialer
// that its tracker was written as a local one.
type localKey struct{}

// dial connects to an address of the host that resolve allows, one after the
// other in the resolver's order.
func (c *Client) dial(ctx context.Context, network, hostport string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return nil, fmt.Errorf("dial tracker: %w", err)
	}
	local, _ := ctx.Value(localKey{}).(bool)
	addrs, err := c.resolve(ctx, host, local)
	if err != nil {
		return nil, err
	}
	return c.dialFirst(ctx, network, addrs, port)
}
