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
	// ErrShut: the proxy or the interface is not there, which says nothing
	// about who was to be reached.
	ErrShut = errors.New("the way out of this machine is shut")
)

const dialTimeout = 15 * time.Second // of a connection, where its context sets no other

// Config says which way to take. The zero value is the system's.
type Config struct {
	Interface string           // that all sockets are bound to; "" binds none
	Proxy     *Proxy           // for all TCP; nil: none
	DNS       []netip.AddrPort // name servers; none means those of the system
	Logger    *slog.Logger     // nil: silent
}

// Way is how traffic leaves and enters. Its methods may be called from any
// goroutine, and on nil.
type Way struct {
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

// Open makes a way that Close ends. It fails where the interface is not there
// or not to be bound to; the proxy is asked by [Way.Check].
func Open(cfg Config) (*Way, error) {
	w := &Way{cfg: cfg, log: cfg.Logger, resolver: net.DefaultResolver, patience: greetPatience}
	w.direct = w.dialDirect
	if w.log == nil {
		w.log = slog.New(slog.DiscardHandler)
	}
	if cfg.Interface != "" {
		l, err := openLink(cfg.Interface, w.log)
		if err != nil {
			return nil, err
		}
		w.link = l
		if err := w.tryBind(); err != nil {
			l.close()
			return nil, err
		}
	}
	if w.link != nil || len(cfg.DNS) > 0 {
		w.resolver = &net.Resolver{PreferGo: true, Dial: w.dialDNS}
	}
	return w, nil
}

// tryBind binds a socket and closes it again, to know at once whether we may.
func (w *Way) tryBind() error {
	pc, err := w.listenPacket(context.Background(), "udp", ":0") // does not wait
	switch {
	case errors.Is(err, syscall.EPERM):
		return fmt.Errorf("bind to interface %s: not allowed; it takes Linux 5.7 or the capability CAP_NET_RAW", w.cfg.Interface)
	case err != nil:
		return err
	}
	return pc.Close()
}

// Close stops the watcher. It may be called again. Sockets are their owners' to close.
func (w *Way) Close() error {
	if w != nil && w.link != nil {
		w.link.close()
	}
	return nil
}

// Interface is the interface that sockets are bound to; "" for none.
func (w *Way) Interface() string {
	if w == nil {
		return ""
	}
	return w.cfg.Interface
}

// Proxied reports whether there is a proxy. Then names are not to be looked up
// but handed to DialContext, and there is nothing but outgoing TCP and, where
// the proxy has it, what a [Relay] carries.
func (w *Way) Proxied() bool { return w != nil && w.cfg.Proxy != nil }

// Err is why nothing can go out at the moment; nil where it can, or where
// nobody has tried.
func (w *Way) Err() error {
	if w == nil {
		return nil
	}
	if w.link != nil && w.link.gone() {
		return fmt.Errorf("interface %s is not there", w.cfg.Interface)
	}
	return w.proxy.failure()
}

// DialContext connects, as [net.Dialer.DialContext] does.
func (w *Way) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	if !w.Proxied() {
		return w.dialDirect(ctx, network, addr)
	}
	switch network {
	case "tcp", "tcp4", "tcp6":
		return w.dialProxy(ctx, addr)
	}
	return nil, fmt.Errorf("dial %s: %w", network, ErrProxied)
}

// dialDirect connects without the proxy, by the interface.
func (w *Way) dialDirect(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTimeout, KeepAlive: -1, Control: w.control()}
	if w != nil {
		d.Resolver = w.resolver
	}
	if w == nil || w.link == nil {
		return d.DialContext(ctx, network, addr)
	}
	generation := w.link.generation()
	c, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, w.link.explain(err)
	}
	w.link.track(c, generation)
	return c, nil
}

// DialFrom sends datagrams from one of our addresses to another one. The zero
// Addr leaves the choice to the system.
func (w *Way) DialFrom(ctx context.Context, local netip.Addr, to netip.AddrPort) (net.Conn, error) {
	if w.Proxied() {
		return nil, fmt.Errorf("dial udp: %w", ErrProxied)
	}
	d := net.Dialer{Control: w.control()}
	if local.IsValid() {
		d.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, 0))
	}
	return d.DialContext(ctx, "udp", to.String())
}

// Listen opens a TCP port.
func (w *Way) Listen(ctx context.Context, network, addr string) (net.Listener, error) {
	if w.Proxied() {
		return nil, fmt.Errorf("listen %s: %w", network, ErrProxied)
	}
	l, err := w.listen(ctx, network, addr)
	if err != nil || w == nil || w.link == nil {
		return l, err
	}
	return w.link.keepListener(l, func(addr string) (net.Listener, error) { return w.listen(context.Background(), network, addr) }), nil
}

func (w *Way) listen(ctx context.Context, network, addr string) (net.Listener, error) {
	c := net.ListenConfig{KeepAlive: -1, Control: w.control()}
	return c.Listen(ctx, network, addr)
}

// ListenPacket opens a UDP port. It is a *net.UDPConn, but where an interface is
// bound: then it is a [RenewedConn], because such a socket does not outlive the
// interface.
func (w *Way) ListenPacket(ctx context.Context, network, addr string) (net.PacketConn, error) {
	if w.Proxied() {
		return nil, fmt.Errorf("listen %s: %w", network, ErrProxied)
	}
	pc, err := w.listenPacket(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	if w == nil || w.link == nil {
		return pc, nil
	}
	return w.link.keepPacketConn(pc, func(addr string) (*net.UDPConn, error) { return w.listenPacket(context.Background(), network, addr) }), nil
}

func (w *Way) listenPacket(ctx context.Context, network, addr string) (*net.UDPConn, error) {
	c := net.ListenConfig{Control: w.control()}
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
func (w *Way) ListenMulticast(network string, group netip.AddrPort) (*net.UDPConn, error) {
	if w.Proxied() {
		return nil, fmt.Errorf("listen to %v: %w", group, ErrProxied)
	}
	var on *net.Interface
	if w != nil && w.link != nil {
		i, err := net.InterfaceByName(w.cfg.Interface)
		if err != nil {
			return nil, w.link.explain(err)
		}
		on = i
	}
	c, err := net.ListenMulticastUDP(network, on, net.UDPAddrFromAddrPort(group))
	if err != nil || on == nil {
		return c, err
	}
	raw, err := c.SyscallConn()
	if err == nil {
		err = w.control()(network, "", raw)
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// Interfaces are those that traffic may take, of all that there are.
func (w *Way) Interfaces() ([]net.Interface, error) {
	if w.Proxied() {
		return nil, fmt.Errorf("list interfaces: %w", ErrProxied)
	}
	if w == nil || w.link == nil {
		return net.Interfaces()
	}
	i, err := net.InterfaceByName(w.cfg.Interface)
	if err != nil {
		return nil, err
	}
	return []net.Interface{*i}, nil
}

// LookupNetIP looks up a name's addresses. Where there is a proxy it fails: that
// would ask beside it.
func (w *Way) LookupNetIP(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	if w.Proxied() {
		return nil, fmt.Errorf("look up a name: %w", ErrProxied)
	}
	if w == nil {
		return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	}
	return w.resolver.LookupNetIP(ctx, "ip", host)
}

// dialDNS connects to a name server: one of ours in turn, or that which the
// resolver took from the system's configuration.
func (w *Way) dialDNS(ctx context.Context, network, addr string) (net.Conn, error) {
	if n := len(w.cfg.DNS); n > 0 {
		addr = w.cfg.DNS[int(w.nextDNS.Add(1)-1)%n].String()
	}
	server, err := netip.ParseAddrPort(addr)
	if err == nil && w.link != nil && server.Addr().IsLoopback() && !w.link.loopback {
		return nil, fmt.Errorf("the system's name server %s is on this machine and may ask by any interface: name another one with --dns-server", addr)
	}
	return w.dialDirect(ctx, network, addr)
}

// control binds a socket before it is used; nil where there is no interface.
func (w *Way) control() func(network, address string, c syscall.RawConn) error {
	if w == nil || w.link == nil {
		return nil
	}
	return func(network, _ string, c syscall.RawConn) error {
		var bound error
		if err := c.Control(func(fd uintptr) { bound = bindTo(int(fd), network, w.cfg.Interface) }); err != nil {
			return err
		}
		if bound != nil {
			return fmt.Errorf("bind to interface %s: %w", w.cfg.Interface, bound)
		}
		return nil
	}
}
