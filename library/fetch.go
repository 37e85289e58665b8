package library

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"sync/atomic"
	"time"

	"torrentfs/internal/version"
	"torrentfs/net/guard"
)

// Limits of fetching something from the web. The size of a .torrent is that of
// [metainfo.Limits].
const (
	fetchTimeout = time.Minute // from the first byte sent to the last received
	maxRedirects = 5
)

// ErrTooSlow is that a server did not send everything in time.
var ErrTooSlow = errors.New("it takes too long")

var errRedirects = fmt.Errorf("more than %d redirects", maxRedirects)

// answer is what a URL led to.
type answer struct {
	body    io.Reader
	foreign bool // it comes from the Internet at large, not from this machine or network
}

// magnetRedirect is the error of a redirect that leads to a magnet link.
type magnetRedirect struct{ link string }

func (magnetRedirect) Error() string { return "redirect to a magnet link" }

// FetchError is why something that the user named by its URL could not be got. It wraps what the
// network says, [ErrForbidden] if the URL leads to a place that only the user may name, or
// [ErrTooSlow].
type FetchError struct {
	URL string // without its secrets
	Err error
}

func (e *FetchError) Error() string { return "fetch " + e.URL + ": " + e.Err.Error() }
func (e *FetchError) Unwrap() error { return e.Err }

// readError is an error about what a URL led to, not about the way there.
type readError struct{ error }

func (e *readError) Unwrap() error { return e.error }

// fetch hands the answer of a URL that the user named to read, which bounds how much it takes of
// it. The host that the user named may be anywhere; what it redirects to must be public, or
// trusted. No error shows what the URL may hold of secrets.
func (n *Network) fetch(ctx context.Context, u *url.URL, timeout time.Duration, read func(answer) error) error {
	inner, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("%w: not complete after %v", ErrTooSlow, timeout))
	defer cancel()
	err := n.get(inner, u, read)
	switch link := (magnetRedirect{}); {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(context.Cause(inner), ErrTooSlow):
		err = context.Cause(inner)
	case errors.As(err, &link):
		return err
	default:
		var known *readError
		if errors.As(err, &known) {
			return known.error
		}
	}
	return &FetchError{guard.Redact(u.String()), guard.RedactError(err, u)}
}

func (n *Network) get(ctx context.Context, u *url.URL, read func(answer) error) error {
	var foreign atomic.Bool
	client, proxied := n.client(u.Hostname())
	defer client.CloseIdleConnections()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) {
		to, err := netip.ParseAddrPort(c.Conn.RemoteAddr().String())
		foreign.Store(err != nil || guard.IsPublic(to.Addr()) && !guard.IsOwn(to.Addr()))
	}})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return withoutURL(err)
	}
	req.Header.Set("User-Agent", version.UserAgent)
	resp, err := client.Do(req)
	if err != nil {
		return withoutURL(err)
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the server says %s", resp.Status)
	}
	from := resp.Request.URL.Hostname()
	if proxied() { // who connected to it is not us
		foreign.Store(!guard.IsLocalName(from))
	}
	body := &watchedReader{r: resp.Body}
	if err := read(answer{body: body, foreign: foreign.Load() && !n.trust().Host(from)}); body.err == nil {
		return err
	}
	return fmt.Errorf("read answer: %w", body.err)
}

// watchedReader keeps the error that ended it, so that a connection which breaks is
// not taken for what it brought.
type watchedReader struct {
	r   io.Reader
	err error // nil or not [io.EOF]
}

func (w *watchedReader) Read(b []byte) (int, error) {
	n, err := w.r.Read(b)
	if err != nil && err != io.EOF {
		w.err = err
	}
	return n, err
}

// withoutURL takes off what an error of net/http begins with, the whole URL.
func withoutURL(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		return ue.Err
	}
	return err
}

// client makes a client for a URL whose host the user named. The proxy of the
// environment is the user's word as well, wherever it is; proxied reports whether it
// was asked.
func (n *Network) client(named string) (client *http.Client, proxied func() bool) {
	guarded := guard.For(n.out(), n.trust())
	var proxy atomic.Pointer[string] // "host:port"
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			host, _, err := net.SplitHostPort(addr)
			if p := proxy.Load(); err == nil && host == named || p != nil && *p == addr {
				return n.out().DialContext(ctx, network, addr)
			}
			return guarded.DialContext(ctx, network, addr)
		},
		TLSHandshakeTimeout:   20 * time.Second,
		ResponseHeaderTimeout: 30 * time.Second,
	}
	if !n.out().Proxied() {
		transport.Proxy = func(req *http.Request) (*url.URL, error) {
			p, err := http.ProxyFromEnvironment(req)
			if err != nil || p == nil {
				return nil, err
			}
			at := proxyAddr(p)
			proxy.Store(&at)
			if host := req.URL.Hostname(); host != named && !n.trust().Host(host) {
				if err := guard.CheckRemote(host, false); err != nil { // it would connect to it for us
					return nil, err
				}
			}
			return p, nil
		}
	}
	return &http.Client{
		Transport: transport,
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if req.URL.Scheme == "magnet" {
				return magnetRedirect{req.URL.String()}
			}
			if len(via) > maxRedirects {
				return errRedirects
			}
			return nil
		},
	}, func() bool { return proxy.Load() != nil || n.out().Proxied() }
}

// proxyAddr is where the transport connects to for a proxy.
func proxyAddr(p *url.URL) string {
	port := p.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}[p.Scheme]
	}
	return net.JoinHostPort(p.Hostname(), port)
}
