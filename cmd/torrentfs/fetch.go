package main

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
	"torrentfs/net/egress"
	"torrentfs/net/guard"
)

// Limits of fetching something from the web. The size of a .torrent is that of
// [metainfo.Limits].
const (
	fetchTimeout = time.Minute // from the first byte sent to the last received
	maxRedirects = 5
)

var (
	errRedirects = fmt.Errorf("more than %d redirects", maxRedirects)
	errTooSlow   = errors.New("it takes too long")
)

// fetcher gets what the user named by its URL. The host that the user named may be
// anywhere; what it redirects to must be public, or trusted.
type fetcher struct {
	network *egress.Network
	trust   *guard.Trust
	timeout time.Duration
}

// answer is what a URL led to.
type answer struct {
	body    io.Reader
	foreign bool // it comes from the Internet at large, not from this machine or network
}

// magnetRedirect is the error of a redirect that leads to a magnet link.
type magnetRedirect struct{ link string }

func (magnetRedirect) Error() string { return "redirect to a magnet link" }

// get hands the answer of a URL to read, which bounds how much it takes of it. No
// error shows what the URL may hold of secrets.
func (f fetcher) get(ctx context.Context, u *url.URL, read func(answer) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, f.timeout, fmt.Errorf("%w: not complete after %v", errTooSlow, f.timeout))
	defer cancel()
	err := f.try(ctx, u, read)
	var known *failure
	switch link := (magnetRedirect{}); {
	case err == nil:
		return nil
	case errors.Is(context.Cause(ctx), errInterrupted):
		return errInterrupted
	case errors.Is(context.Cause(ctx), errTooSlow):
		err = context.Cause(ctx)
	case errors.As(err, &link), errors.As(err, &known):
		return err
	}
	hint := serverHint(err)
	if errors.Is(err, guard.ErrForbidden) {
		hint = "give the address that it leads to yourself"
	}
	return fail(exitNetwork, hint, "fetch %s: %w", guard.Redact(u.String()), guard.RedactError(err, u))
}

func (f fetcher) try(ctx context.Context, u *url.URL, read func(answer) error) error {
	var foreign atomic.Bool
	client, proxied := f.client(u.Hostname())
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
	if err := read(answer{body: body, foreign: foreign.Load() && !f.trust.Host(from)}); body.err == nil {
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
func (f fetcher) client(named string) (client *http.Client, proxied func() bool) {
	guarded := guard.For(f.network, f.trust)
	var proxy atomic.Pointer[string] // "host:port"
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			host, _, err := net.SplitHostPort(addr)
			if p := proxy.Load(); err == nil && host == named || p != nil && *p == addr {
				return f.network.DialContext(ctx, network, addr)
			}
			return guarded.DialContext(ctx, network, addr)
		},
		TLSHandshakeTimeout:   20 * time.Second,
		ResponseHeaderTimeout: 30 * time.Second,
	}
	if !f.network.Proxied() {
		transport.Proxy = func(req *http.Request) (*url.URL, error) {
			p, err := http.ProxyFromEnvironment(req)
			if err != nil || p == nil {
				return nil, err
			}
			at := proxyAddr(p)
			proxy.Store(&at)
			if host := req.URL.Hostname(); host != named && !f.trust.Host(host) {
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
	}, func() bool { return proxy.Load() != nil || f.network.Proxied() }
}

// proxyAddr is where the transport connects to for a proxy.
func proxyAddr(p *url.URL) string {
	port := p.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}[p.Scheme]
	}
	return net.JoinHostPort(p.Hostname(), port)
}
