package egress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"sync"
	"time"
)

var (
	// ErrProxyAuth: the proxy wants a user name and a password, or others.
	ErrProxyAuth = errors.New("the proxy refuses the user name and password")
	// ErrProxyForbids: the proxy's rules are against a connection.
	ErrProxyForbids = errors.New("the proxy forbids it")
	// ErrTarget: the proxy could not connect.
	ErrTarget = errors.New("the proxy could not connect")
	// ErrNoProxy: the answering host does not speak the proxy's protocol.
	ErrNoProxy = errors.New("what answers there is not such a proxy")
)

// errProxyURL never quotes the URL, which may hold a password.
var errProxyURL = errors.New("want socks5://[USER:PASSWORD@]HOST:PORT or http://[USER:PASSWORD@]HOST:PORT")

const (
	proxyTimeout  = 20 * time.Second // of a connection through the proxy
	checkPatience = 4 * time.Second  // for the answer to a connection to nowhere
	greetPatience = 5 * time.Second  // for the answers of a proxy by itself
)

// Proxy is the address of a proxy and what it is told about us.
type Proxy struct {
	http           bool // else SOCKS5
	host, port     string
	user, password string
	auth           bool // there are a user and a password
}

// ParseProxy reads the URL of a proxy. No error quotes it.
func ParseProxy(text string) (*Proxy, error) {
	u, err := url.Parse(text)
	if err != nil || u.Opaque != "" || u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/" {
		return nil, errProxyURL
	}
	p := &Proxy{host: u.Hostname(), port: u.Port()}
	switch u.Scheme {
	case "socks5", "socks5h":
	case "http":
		p.http = true
	case "https", "socks4", "socks4a", "socks":
		return nil, fmt.Errorf("%s proxies are not supported: %w", u.Scheme, errProxyURL)
	default:
		return nil, errProxyURL
	}
	if n, err := strconv.ParseUint(p.port, 10, 16); err != nil || n == 0 || p.host == "" || len(p.host) > 253 {
		return nil, errProxyURL
	}
	if u.User == nil {
		return p, nil
	}
	p.user, p.auth = u.User.Username(), true
	p.password, _ = u.User.Password()
	if n := len(p.user); n == 0 || n > 255 {
		return nil, errors.New("the user name of a proxy has 1 to 255 bytes")
	}
	if n := len(p.password); !p.http && (n == 0 || n > 255) {
		return nil, errors.New("the password of a SOCKS5 proxy has 1 to 255 bytes")
	}
	return p, nil
}

// String is the proxy's address, as logs may show it.
func (p *Proxy) String() string {
	scheme := "socks5"
	if p.http {
		scheme = "http"
	}
	return scheme + "://" + p.addr()
}

// Authenticates reports whether it gets a user name and a password.
func (p *Proxy) Authenticates() bool { return p.auth }

func (p *Proxy) addr() string { return net.JoinHostPort(p.host, p.port) }

// loopback reports whether the proxy is written as an address of this machine.
func (p *Proxy) loopback() bool {
	a, err := netip.ParseAddr(p.host)
	return p.host == "localhost" || err == nil && a.Unmap().IsLoopback()
}

// greet authenticates us to a SOCKS5 proxy. No other host is involved: silence is the proxy's own.
// Its error wraps ErrProxyAuth, ErrNoProxy, or is that of ctx.
func (nw *Network) greet(ctx context.Context, c net.Conn) error {
	if nw.cfg.Proxy.http {
		return nil
	}
	inner, cancel := context.WithTimeout(ctx, nw.patience)
	defer cancel()
	err := during(inner, c, func() error { return nw.cfg.Proxy.greetSOCKS(c) })
	switch {
	case err == nil, errors.Is(err, ErrProxyAuth), errors.Is(err, ErrNoProxy):
		return err
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case inner.Err() != nil:
		return fmt.Errorf("%w: it says nothing", ErrNoProxy)
	}
	return fmt.Errorf("%w: %w", ErrNoProxy, err)
}

// ask asks over c for a connection to target.
func (p *Proxy) ask(c net.Conn, target string) error {
	if p.http {
		return p.connectHTTP(c, target)
	}
	return connectSOCKS(c, target)
}

// dialProxy connects by way of the proxy, which resolves names.
func (nw *Network) dialProxy(ctx context.Context, target string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, proxyTimeout)
	defer cancel()
	c, err := nw.reachProxy(ctx)
	if err != nil {
		return nil, err
	}
	if err = nw.greet(ctx, c); err == nil {
		err = during(ctx, c, func() error { return nw.cfg.Proxy.ask(c, target) })
	}
	if err == nil {
		nw.proxy.up(nw)
		return c, nil
	}
	_ = c.Close()
	switch {
	case errors.Is(err, ErrTarget):
		nw.proxy.up(nw)
	case errors.Is(err, ErrProxyForbids):
		nw.proxy.up(nw)
		nw.proxy.forbids.Do(func() {
			nw.log.Warn("the proxy forbids a connection; peers, trackers and web seeds have any port, and its rules must allow them", "proxy", nw.cfg.Proxy.String(), "err", err)
		})
	case errors.Is(err, ErrProxyAuth), errors.Is(err, ErrNoProxy):
		nw.proxy.down(nw, err)
		return nil, fmt.Errorf("%w: proxy %v: %w", ErrDown, nw.cfg.Proxy, err)
	case ctx.Err() != nil:
		return nil, fmt.Errorf("dial through proxy: %w", context.Cause(ctx))
	}
	return nil, fmt.Errorf("dial through proxy: %w", err)
}

// reachProxy connects to the proxy itself.
func (nw *Network) reachProxy(ctx context.Context) (net.Conn, error) {
	c, err := nw.direct(ctx, "tcp", nw.cfg.Proxy.addr())
	if err == nil {
		return c, nil
	}
	if !errors.Is(ctx.Err(), context.Canceled) { // by the caller: no result about the proxy
		nw.proxy.down(nw, err)
	}
	return nil, fmt.Errorf("%w: proxy %v: %w", ErrDown, nw.cfg.Proxy, err)
}

// during runs f, whose reads and writes on c end with ctx.
func during(ctx context.Context, c net.Conn, f func() error) error {
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { defer close(ended); _ = c.SetDeadline(time.Unix(1, 0)) })
	err := f()
	if !stop() {
		<-ended
		if err == nil {
			err = context.Cause(ctx)
		}
	}
	return err
}

// Check verifies that the proxy is one and accepts us, and asks whether it relays datagrams. It is
// no error if it does not: see [Network.NoRelay]. It connects to no other host; an HTTP proxy is
// asked for a name that cannot exist, since it can be asked for nothing less. Without a proxy there
// is nothing to check.
func (nw *Network) Check(ctx context.Context) error {
	if !nw.Proxied() {
		return nil
	}
	p := nw.cfg.Proxy
	if nw.link != nil && !nw.link.loopback && p.loopback() {
		return fmt.Errorf("the proxy is on this machine, and does not send by interface %s because we do: bind the proxy itself", nw.cfg.Interface)
	}
	ctx, cancel := context.WithTimeout(ctx, proxyTimeout)
	defer cancel()
	c, err := nw.direct(ctx, "tcp", p.addr())
	if err != nil {
		return err
	}
	defer c.Close()
	if !p.http {
		if err := nw.greet(ctx, c); err != nil {
			return err
		}
		return nw.checkRelay(ctx, c)
	}
	patience, cancel := context.WithTimeout(ctx, checkPatience)
	defer cancel()
	err = during(patience, c, func() error { return p.connectHTTP(c, "torrentfs.invalid:443") })
	switch {
	case errors.Is(err, ErrProxyAuth), errors.Is(err, ErrNoProxy), errors.Is(err, ErrProxyForbids):
		return err
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: %w", ErrNoProxy, err)
	}
	return context.Cause(ctx) // it tried to connect, as it should
}

// health is the proxy's last known state, as its users found it.
type health struct {
	forbids sync.Once // to tell of it

	mu    sync.Mutex
	err   error // nil: it works
	since time.Time
}

func (h *health) down(nw *Network, err error) {
	h.mu.Lock()
	first := h.err == nil
	h.err = err
	if first {
		h.since = time.Now()
	}
	h.mu.Unlock()
	if first {
		nw.log.Warn("the proxy cannot be used: nothing goes out until it can, trying on", "proxy", nw.cfg.Proxy.String(), "err", err)
	}
}

func (h *health) up(nw *Network) {
	h.mu.Lock()
	was, since := h.err, h.since
	h.err = nil
	h.mu.Unlock()
	if was != nil {
		nw.log.Info("the proxy works again", "proxy", nw.cfg.Proxy.String(), "after", time.Since(since).Round(time.Second).String())
	}
}

func (h *health) failure() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err == nil {
		return nil
	}
	return fmt.Errorf("the proxy cannot be used: %w", h.err)
}
