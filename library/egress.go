package library

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"time"

	"torrentfs/metainfo"
	"torrentfs/net/egress"
	"torrentfs/net/guard"
)

// Errors of a [Network], for callers that tell users what to do.
var (
	ErrForbidden     = guard.ErrForbidden     // a stranger's URL leads to this machine or network
	ErrProxied       = egress.ErrProxied      // there is no way for this through the proxy
	ErrProxyAuth     = egress.ErrProxyAuth    // the proxy wants another user or password
	ErrProxyForbids  = egress.ErrProxyForbids // the proxy refuses by its rules
	ErrNoProxy       = egress.ErrNoProxy      // what answers is no proxy of that kind
	ErrInterfaceDown = egress.ErrDown         // the proxy or the interface is not there
)

// Proxy is a SOCKS5 or HTTP proxy, as [ParseProxy] reads it. Its String has no password.
type Proxy = egress.Proxy

// ParseProxy parses socks5://[USER:PASSWORD@]HOST:PORT or http://…; no error quotes it.
func ParseProxy(url string) (*Proxy, error) { return egress.ParseProxy(url) }

// ProxyError is why a proxy cannot be used. It may wrap [ErrProxyAuth], [ErrProxyForbids] or
// [ErrNoProxy].
type ProxyError struct {
	Proxy *Proxy
	Err   error
}

func (e *ProxyError) Error() string { return fmt.Sprintf("use proxy %v: %v", e.Proxy, e.Err) }
func (e *ProxyError) Unwrap() error { return e.Err }

// NetworkConfig says by what a process reaches others. Its zero value is the system's network.
type NetworkConfig struct {
	Interface string           // that all sockets are bound to; "" binds none
	Proxy     *Proxy           // that all goes through, and nothing beside it; nil: none
	DNS       []netip.AddrPort // name servers; none: those of the system
	// Trust are hosts, addresses and networks of this machine or its network that the user trusts:
	// trackers and web seeds may be there, with any path.
	Trust  []string
	Logger *slog.Logger // nil: silent
}

// Network is what a process reaches others by, and whom its user trusts. It gets what users name:
// torrents by their URLs, blocklists, the addresses of peers. Methods may be called from any
// goroutine. A nil Network is the system's, and trusts nobody.
type Network struct {
	egress *egress.Network // nil: the system's
	guard  *guard.Trust
	log    *slog.Logger
}

// OpenNetwork opens a network, which [Network.Close] ends after the library that uses it. A proxy
// is asked whether it would take us: the error is then a [*ProxyError], or the cause of ctx.
func OpenNetwork(ctx context.Context, cfg NetworkConfig) (*Network, error) {
	n := &Network{log: cfg.Logger}
	if n.log == nil {
		n.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if n.guard, err = guard.ParseTrust(cfg.Trust...); err != nil {
		return nil, err
	}
	if cfg.Interface == "" && cfg.Proxy == nil && len(cfg.DNS) == 0 {
		return n, nil
	}
	n.egress, err = egress.Open(egress.Config{Interface: cfg.Interface, Proxy: cfg.Proxy, DNS: cfg.DNS, Logger: n.log})
	if err != nil {
		return nil, err
	}
	if err := n.egress.Check(ctx); err != nil {
		_ = n.egress.Close() // only stops looking
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, &ProxyError{cfg.Proxy, err}
	}
	return n, nil
}

// CheckTrust reports what is wrong with a host of [NetworkConfig.Trust].
func CheckTrust(host string) error {
	_, err := guard.ParseTrust(host)
	return err
}

// Close stops following the interface. Sockets belong to who opened them.
func (n *Network) Close() error { return n.out().Close() }

// RelaysUDP is nil if datagrams go through the proxy, or if there is none; else it tells why not.
func (n *Network) RelaysUDP() error {
	if n.out().Proxied() {
		return n.out().NoRelay()
	}
	return nil
}

// Proxied reports whether all goes through a proxy: then nobody reaches us, and names are not
// looked up here.
func (n *Network) Proxied() bool { return n.out().Proxied() }

// out is what sockets are opened by; nil is the system's.
func (n *Network) out() *egress.Network {
	if n == nil {
		return nil
	}
	return n.egress
}

// trust is whom the user trusts; nil is nobody.
func (n *Network) trust() *guard.Trust {
	if n == nil {
		return nil
	}
	return n.guard
}

func (n *Network) logger() *slog.Logger {
	if n == nil || n.log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return n.log
}

// LookupPeer turns a peer that the user named into its addresses. Behind a proxy a name fails with
// [ErrProxied]: the proxy resolves names, and does not tell.
func (n *Network) LookupPeer(ctx context.Context, host string, port uint16) ([]netip.AddrPort, error) {
	ips, err := n.out().LookupNetIP(ctx, host)
	if err != nil {
		return nil, err
	}
	addrs := make([]netip.AddrPort, len(ips))
	for i, ip := range ips {
		addrs[i] = netip.AddrPortFrom(ip.Unmap(), port)
	}
	return addrs, nil
}

// Limits of the peers that a link names (x.pe).
const (
	maxLinkPeers    = 64
	linkPeerTimeout = 5 * time.Second
)

// LinkPeers are the peers that a magnet link names (x.pe, BEP 9). Addresses count as written; a
// name must lead to public ones. What cannot be used is left out.
func (n *Network) LinkPeers(ctx context.Context, m *metainfo.Magnet) []netip.AddrPort {
	if m == nil || len(m.Peers) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(guard.WithLocal(ctx, true), linkPeerTimeout)
	defer cancel()
	guarded := guard.For(n.out(), nil)
	var peers []netip.AddrPort
	for _, p := range m.Peers[:min(len(m.Peers), maxLinkPeers)] {
		host, port, err := net.SplitHostPort(p)
		if err != nil {
			continue
		}
		number, err := strconv.ParseUint(port, 10, 16)
		if err != nil || number == 0 {
			continue
		}
		addrs, err := guarded.Resolve(ctx, host)
		if err != nil {
			n.logger().Debug("leave out a peer that the link names", "peer", p, "err", err)
			continue
		}
		for _, addr := range addrs {
			peers = append(peers, netip.AddrPortFrom(addr.Unmap(), uint16(number)))
		}
	}
	return peers
}
