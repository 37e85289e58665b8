package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// relaying is the state of the proxy's relaying of datagrams.
type relaying struct {
	mu      sync.Mutex
	none    error // by Check: why it relays none, and is not asked again; nil: it does, or was not asked
	failing error // why it does not at the moment
}

// NoRelay is why no datagrams go through the proxy; nil if it relays them, or
// [Network.Check] did not ask.
func (nw *Network) NoRelay() error {
	switch {
	case !nw.Proxied():
		return nil
	case nw.cfg.Proxy.http:
		return errors.New("HTTP proxies carry no UDP")
	}
	nw.relaying.mu.Lock()
	defer nw.relaying.mu.Unlock()
	return nw.relaying.none
}

// OpenRelay opens a UDP port at the proxy, in the background. opened is called
// each time that the proxy has agreed to it, and must not block; nil: nothing wants
// to know. The error wraps ErrProxied if the proxy is known to relay nothing.
func (nw *Network) OpenRelay(opened func()) (*Relay, error) {
	if !nw.Proxied() {
		return nil, errors.New("open a UDP port at the proxy: there is none")
	}
	if err := nw.NoRelay(); err != nil {
		return nil, fmt.Errorf("open a UDP port at the proxy: %w: %w", ErrProxied, err)
	}
	if opened == nil {
		opened = func() {}
	}
	return newRelay(nw.associate, opened), nil
}

// associate asks the proxy for an association, and logs when that begins or ceases to work.
func (nw *Network) associate(ctx context.Context) (*association, error) {
	ctx, cancel := context.WithTimeout(ctx, proxyTimeout)
	defer cancel()
	c, err := nw.reachProxy(ctx)
	if err != nil {
		return nil, err
	}
	if err := nw.greet(ctx, c); err != nil {
		_ = c.Close()
		if errors.Is(err, ErrProxyAuth) || errors.Is(err, ErrNoProxy) {
			nw.proxy.down(nw, err)
		}
		return nil, err
	}
	nw.proxy.up(nw)
	relay, err := nw.askRelay(ctx, c)
	if ctx.Err() != nil {
		_ = c.Close()
		return nil, context.Cause(ctx)
	}
	nw.relaying.note(nw, err)
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	if tcp, ok := c.(*net.TCPConn); ok { // nothing is ever sent on it, and a proxy may vanish
		_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 20 * time.Second, Interval: 10 * time.Second, Count: 3})
	}
	packets, err := nw.direct(ctx, "udp", relay.String())
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return &association{control: c, packets: packets}, nil
}

// askRelay asks over c for an association, and returns the relay's address.
func (nw *Network) askRelay(ctx context.Context, c net.Conn) (relay netip.AddrPort, err error) {
	inner, cancel := context.WithTimeout(ctx, nw.patience)
	defer cancel()
	err = during(inner, c, func() (err error) { relay, err = associateSOCKS(c); return err })
	switch {
	case err == nil:
	case inner.Err() != nil && ctx.Err() == nil:
		return relay, errors.New("it says nothing when it is asked for UDP")
	case errors.As(err, new(refusal)):
		return relay, fmt.Errorf("it answers: %w", err)
	default:
		return relay, err
	}
	proxy, ok := c.RemoteAddr().(interface{ AddrPort() netip.AddrPort })
	if !ok {
		return relay, fmt.Errorf("the proxy's address is %v", c.RemoteAddr())
	}
	return relayAt(relay, proxy.AddrPort().Addr().Unmap())
}

// relayAt is the address of a relay that the proxy reports at bound. A proxy that names no address
// means its own; so does one at a public address that names one which only its own network can
// reach.
func relayAt(bound netip.AddrPort, proxy netip.Addr) (netip.AddrPort, error) {
	at := bound.Addr()
	switch {
	case bound.Port() == 0:
		return bound, fmt.Errorf("%w: its relay has no port", ErrNoProxy)
	case !at.IsValid(), at.IsUnspecified(), at.IsLoopback() && !proxy.IsLoopback(),
		!at.IsGlobalUnicast() && !at.IsLoopback(), at.IsPrivate() && !proxy.IsPrivate() && !proxy.IsLoopback():
		at = proxy
	}
	return netip.AddrPortFrom(at, bound.Port()), nil
}

// note takes the proxy's answer, and logs what is new.
func (r *relaying) note(nw *Network, err error) {
	r.mu.Lock()
	before := r.failing
	r.failing = err
	r.mu.Unlock()
	switch {
	case err != nil && before == nil:
		nw.log.Warn("the proxy relays no UDP: there are no uTP, DHT and UDP trackers until it does, trying on", "proxy", nw.cfg.Proxy.String(), "err", err)
	case err == nil && before != nil:
		nw.log.Info("the proxy relays UDP", "proxy", nw.cfg.Proxy.String())
	}
}

// checkRelay finds out over c, on which the proxy has taken us, whether it relays
// datagrams.
func (nw *Network) checkRelay(ctx context.Context, c net.Conn) error {
	_, err := nw.askRelay(ctx, c)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	nw.relaying.mu.Lock()
	defer nw.relaying.mu.Unlock()
	nw.relaying.none = err
	return nil
}
