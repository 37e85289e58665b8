package egress

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"
)

var (
	// ErrProxied: there is no way for this through the proxy.
	ErrProxied = errors.New("not possible through the proxy")
	// ErrDown: the proxy or the interface is not there, which tells nothing about the host to be
	// reached.
	ErrDown = errors.New("the network is down")
)

const dialTimeout = 15 * time.Second // of a connection, if its context sets no other

// Config is the way that traffic takes. The zero value is the system's network.
type Config struct {
	Interface string           // that all sockets are bound to; "" binds none
	Proxy     *Proxy           // for all TCP; nil: none
	DNS       []netip.AddrPort // name servers; none means those of the system
	Logger    *slog.Logger     // nil: silent
}

// Network is how traffic leaves and enters. Its methods may be called from any
// goroutine, and on nil.
type Network struct {
	cfg      Config
	log      *slog.Logger
	link     *link // nil: no interface
	resolver *net.Resolver
	nextDNS  atomic.Uint32
	proxy    health        // of cfg.Proxy
	relaying relaying      // likewise, of datagrams
	patience time.Duration // for a proxy's own answers

	// direct is dialDirect: tests have another network there.
	direct func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Open makes a network that Close ends. It fails if the interface is not there
// or not to be bound to; the proxy is asked by [Network.Check].
func Open(cfg Config) (*Network, error) {
	nw := &Network{cfg: cfg, log: cfg.Logger, resolver: net.DefaultResolver, patience: greetPatience}
	nw.direct = nw.dialDirect
	if nw.log == nil {
		nw.log = slog.New(slog.DiscardHandler)
	}
	if cfg.Interface != "" {
		l, err := openLink(cfg.Interface, nw.log)
		if err != nil {
			return nil, err
		}
		nw.link = l
		if err := nw.tryBind(); err != nil {
			l.close()
			return nil, err
		}
	}
	if nw.link != nil || len(cfg.DNS) > 0 {
		nw.resolver = &net.Resolver{PreferGo: true, Dial: nw.dialDNS}
	}
	return nw, nil
}

// tryBind binds a socket and closes it again, to know at once whether we may.
func (nw *Network) tryBind() error {
	pc, err := nw.listenPacket(context.Background(), "udp", ":0") // does not wait
	switch {
	case errors.Is(err, syscall.EPERM):
		return fmt.Errorf("bind to interface %s: not allowed; it takes Linux 5.7 or the capability CAP_NET_RAW", nw.cfg.Interface)
	case err != nil:
		return err
	}
	return pc.Close()
}

// Close stops the watcher. It may be called again. Sockets are their owners' to close.
func (nw *Network) Close() error {
	if nw != nil && nw.link != nil {
		nw.link.close()
	}
	return nil
}

// Interface is the interface that sockets are bound to; "" for none.
func (nw *Network) Interface() string {
	if nw == nil {
		return ""
	}
	return nw.cfg.Interface
}

// Proxied reports whether there is a proxy. Then names are not to be looked up
// but handed to DialContext, and there is nothing but outgoing TCP and, if
// the proxy has it, what a [Relay] carries.
func (nw *Network) Proxied() bool { return nw != nil && nw.cfg.Proxy != nil }

// Err is why nothing can go out at the moment; nil if it can, or if
// nothing has tried.
func (nw *Network) Err() error {
	if nw == nil {
		return nil
	}
	if nw.link != nil && nw.link.gone() {
		return fmt.Errorf("interface %s is not there", nw.cfg.Interface)
	}
	return nw.proxy.failure()
}

// DialContext connects, as [net.Dialer.DialContext] does.
func (nw *Network) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	if !nw.Proxied() {
		return nw.dialDirect(ctx, network, addr)
	}
	switch network {
	case "tcp", "tcp4", "tcp6":
		return nw.dialProxy(ctx, addr)
	}
	return nil, fmt.Errorf("dial %s: %w", network, ErrProxied)
}

// dialDirect connects without the proxy, by the interface.
func (nw *Network) dialDirect(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTimeout, KeepAlive: -1, Control: nw.control()}
	if nw != nil {
		d.Resolver = nw.resolver
	}
	if nw == nil || nw.link == nil {
		return d.DialContext(ctx, network, addr)
	}
	generation := nw.link.generation()
	c, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, nw.link.explain(err)
	}
	nw.link.track(c, generation)
	return c, nil
}

// DialFrom sends datagrams from one of our addresses to another one. The zero
// Addr leaves the choice to the system.
func (nw *Network) DialFrom(ctx context.Context, local netip.Addr, to netip.AddrPort) (net.Conn, error) {
	if nw.Proxied() {
		return nil, fmt.Errorf("dial udp: %w", ErrProxied)
	}
	d := net.Dialer{Control: nw.control()}
	if local.IsValid() {
		d.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, 0))
	}
	return d.DialContext(ctx, "udp", to.String())
}

// Listen opens a TCP port.
func (nw *Network) Listen(ctx context.Context, network, addr string) (net.Listener, error) {
	if nw.Proxied() {
		return nil, fmt.Errorf("listen %s: %w", network, ErrProxied)
	}
	l, err := nw.listen(ctx, network, addr)
	if err != nil || nw == nil || nw.link == nil {
		return l, err
	}
	return nw.link.keepListener(l, func(addr string) (net.Listener, error) { return nw.listen(context.Background(), network, addr) }), nil
}

func (nw *Network) listen(ctx context.Context, network, addr string) (net.Listener, error) {
	c := net.ListenConfig{KeepAlive: -1, Control: nw.control()}
	return c.Listen(ctx, network, addr)
}

// ListenPacket opens a UDP port. It is a *net.UDPConn, unless an interface is
// bound: then it is a [RebindingConn], because such a socket does not outlive the
// interface.
func (nw *Network) ListenPacket(ctx context.Context, network, addr string) (net.PacketConn, error) {
	if nw.Proxied() {
		return nil, fmt.Errorf("listen %s: %w", network, ErrProxied)
	}
	pc, err := nw.listenPacket(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	if nw == nil || nw.link == nil {
		return pc, nil
	}
	return nw.link.keepPacketConn(pc, func(addr string) (*net.UDPConn, error) { return nw.listenPacket(context.Background(), network, addr) }), nil
}

func (nw *Network) listenPacket(ctx context.Context, network, addr string) (*net.UDPConn, error) {
	c := net.ListenConfig{Control: nw.control()}
	pc, err := c.ListenPacket(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	udp, ok := pc.(*net.UDPConn)
	if !ok {
		_ = pc.Close()
		return nil, fmt.Errorf("listen %s: not a UDP port", network)
	}
	return udp, nil
}

// ListenMulticast opens a multicast group's port together with other programs of
// this machine.
func (nw *Network) ListenMulticast(network string, group netip.AddrPort) (*net.UDPConn, error) {
	if nw.Proxied() {
		return nil, fmt.Errorf("listen to %v: %w", group, ErrProxied)
	}
	var on *net.Interface
	if nw != nil && nw.link != nil {
		i, err := net.InterfaceByName(nw.cfg.Interface)
		if err != nil {
			return nil, nw.link.explain(err)
		}
		on = i
	}
	c, err := net.ListenMulticastUDP(network, on, net.UDPAddrFromAddrPort(group))
	if err != nil || on == nil {
		return c, err
	}
	raw, err := c.SyscallConn()
	if err == nil {
		err = nw.control()(network, "", raw)
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// Interfaces are those that traffic may take, of all that there are.
func (nw *Network) Interfaces() ([]net.Interface, error) {
	if nw.Proxied() {
		return nil, fmt.Errorf("list interfaces: %w", ErrProxied)
	}
	if nw == nil || nw.link == nil {
		return net.Interfaces()
	}
	i, err := net.InterfaceByName(nw.cfg.Interface)
	if err != nil {
		return nil, err
	}
	return []net.Interface{*i}, nil
}

// LookupNetIP looks up a name's addresses. With a proxy it fails: that would ask beside it.
func (nw *Network) LookupNetIP(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	if nw.Proxied() {
		return nil, fmt.Errorf("look up a name: %w", ErrProxied)
	}
	if nw == nil {
		return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	}
	return nw.resolver.LookupNetIP(ctx, "ip", host)
}

// dialDNS connects to a name server: one of ours in turn, or that which the
// resolver took from the system's configuration.
func (nw *Network) dialDNS(ctx context.Context, network, addr string) (net.Conn, error) {
	if n := len(nw.cfg.DNS); n > 0 {
		addr = nw.cfg.DNS[int(nw.nextDNS.Add(1)-1)%n].String()
	}
	server, err := netip.ParseAddrPort(addr)
	if err == nil && nw.link != nil && server.Addr().IsLoopback() && !nw.link.loopback {
		return nil, fmt.Errorf("the system's name server %s is on this machine and may ask by any interface: name another one with --dns-server", addr)
	}
	return nw.dialDirect(ctx, network, addr)
}

// control binds a socket before it is used; nil if there is no interface.
func (nw *Network) control() func(network, address string, c syscall.RawConn) error {
	if nw == nil || nw.link == nil {
		return nil
	}
	return func(network, _ string, c syscall.RawConn) error {
		var bound error
		if err := c.Control(func(fd uintptr) { bound = bindTo(int(fd), network, nw.cfg.Interface) }); err != nil {
			return err
		}
		if bound != nil {
			return fmt.Errorf("bind to interface %s: %w", nw.cfg.Interface, bound)
		}
		return nil
	}
}
