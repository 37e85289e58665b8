package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"torrentfs/metainfo"
	"torrentfs/swarm/egress"
	"torrentfs/swarm/netguard"
)

// Limits of fetching a .torrent from the web; its size is that of
// [metainfo.Limits].
const (
	fetchTimeout = time.Minute
	maxRedirects = 5
)

var errRedirects = fmt.Errorf("more than %d redirects", maxRedirects)

// fetchTorrent gets a .torrent by its URL. The host that the user named may be
// anywhere; what it redirects to must be public.
func fetchTorrent(ctx context.Context, way *egress.Way, raw string) (*metainfo.MetaInfo, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" {
		return nil, fail(exitTorrent, "check it", "open torrent: %q is no URL", raw)
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	mi, err := getTorrent(ctx, way, u)
	if err != nil {
		if errors.Is(context.Cause(ctx), errInterrupted) {
			return nil, errInterrupted
		}
		return nil, err
	}
	return mi, nil
}

func getTorrent(ctx context.Context, way *egress.Way, u *url.URL) (mi *metainfo.MetaInfo, err error) {
	err = get(ctx, way, u, func(body io.Reader) error {
		if mi, err = metainfo.Read(body, metainfo.Limits{}); err != nil {
			return fail(exitTorrent, "", "fetch torrent %s: %w", u.Redacted(), err)
		}
		return nil
	})
	return mi, err
}

// get hands the body at a URL to read, which bounds how much it takes of it.
func get(ctx context.Context, way *egress.Way, u *url.URL, read func(body io.Reader) error) error {
	client := fetchClient(way, u.Hostname())
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return fail(exitNetwork, "", "fetch: %w", err)
	}
	req.Header.Set("User-Agent", "torrentfs/"+version())
	resp, err := client.Do(req)
	if err != nil {
		return fail(exitNetwork, "", "fetch: %w", err)
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	if resp.StatusCode != http.StatusOK {
		return fail(exitNetwork, "", "fetch %s: the server says %s", u.Redacted(), resp.Status)
	}
	return read(resp.Body)
}

func fetchClient(way *egress.Way, named string) *http.Client {
	guard := netguard.For(way)
	proxy := http.ProxyFromEnvironment
	if way.Proxied() {
		proxy = nil
	}
	return &http.Client{
		Transport: &http.Transport{
			Proxy: proxy,
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				if host, _, err := net.SplitHostPort(addr); err == nil && host == named {
					return way.DialContext(ctx, network, addr)
				}
				return guard.DialContext(ctx, network, addr)
			},
			TLSHandshakeTimeout:   20 * time.Second,
			ResponseHeaderTimeout: 30 * time.Second,
		},
		CheckRedirect: func(_ *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects {
				return errRedirects
			}
			return nil
		},
	}
}
