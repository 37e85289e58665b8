package announce

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"torrentfs/net/egress"
	"torrentfs/net/guard"
)

const (
	httpTimeout = 30 * time.Second // of one HTTP request with its redirects
	udpRetries  = 2                // retransmissions, the n of BEP 15's 15·2ⁿ s
)

// ClientConfig configures a Client. The zero value works.
type ClientConfig struct {
	Trust  *guard.Trust // the hosts that the user named; nil: none
	Logger *slog.Logger // nil logs nothing

	Network *egress.Network // that everything takes; nil: the system's

	// What follows stands between the client and the network, for tests.
	// Addresses are checked after lookup and before dial.
	allowPrivate bool // tracker names may resolve to loopback and private addresses
	lookup       func(ctx context.Context, host string) ([]netip.Addr, error)
	dial         func(ctx context.Context, network, addr string) (net.Conn, error)
	listenPacket func(ctx context.Context, network string) (net.PacketConn, error) // network: udp4 or udp6, or udp at a proxy
}

func (cfg ClientConfig) withDefaults() ClientConfig {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.lookup == nil {
		cfg.lookup = cfg.Network.LookupNetIP
	}
	if cfg.dial == nil {
		cfg.dial = cfg.Network.DialContext
	}
	if cfg.listenPacket == nil {
		cfg.listenPacket = func(ctx context.Context, network string) (net.PacketConn, error) {
			if cfg.Network.Proxied() {
				return cfg.Network.OpenRelay(nil)
			}
			return cfg.Network.ListenPacket(ctx, network, ":0")
		}
	}
	return cfg
}

// Client speaks to trackers over HTTP, HTTPS and UDP. It is safe for concurrent
// use and meant to be shared by all torrents of a process. Close releases its
// UDP sockets.
type Client struct {
	cfg    ClientConfig
	dialer *guard.Dialer
	http   *http.Client
	udp    *udpClient
}

var _ Transport = (*Client)(nil)

// NewClient returns a client. It opens nothing before the first request.
func NewClient(cfg ClientConfig) *Client {
	c := &Client{cfg: cfg.withDefaults()}
	c.dialer = &guard.Dialer{AllowPrivate: c.cfg.allowPrivate, Trust: c.cfg.Trust, Lookup: c.cfg.lookup, Dial: c.cfg.dial}
	if cfg.Network.Proxied() {
		c.dialer.Via = cfg.Network.DialContext
	}
	c.http = c.newHTTP()
	c.udp = newUDPClient(c.cfg)
	return c
}

// Close fails the UDP requests under way and waits for the client's
// goroutines. HTTP requests end with their contexts.
func (c *Client) Close() error { return c.udp.close() }

// trusts reports whether a tracker's URL may say anything to a host: one that the
// user named.
func (c *Client) trusts(host string) bool { return c.cfg.Trust.Host(host) }

// Announce implements Transport.
func (c *Client) Announce(ctx context.Context, tracker string, r Request, found func(Response)) (Response, error) {
	t, err := parseTarget(tracker, c.trusts)
	if err != nil {
		return Response{}, err
	}
	if found == nil {
		found = func(Response) {}
	}
	var resp Response
	if t.url.Scheme == "udp" {
		resp, err = c.announceUDP(ctx, t, r, found)
	} else {
		resp, err = c.announceHTTP(ctx, t, r)
		if err == nil {
			found(resp)
		}
	}
	if err != nil {
		return Response{}, fmt.Errorf("announce to %s: %w", DisplayURL(tracker), scrubbed(err, tracker))
	}
	resp.Warning = scrub(resp.Warning, tracker)
	return resp, nil
}

// Scrape implements Transport. Between 1 and 74 info-hashes can be asked for
// at once, which is what fits a UDP packet.
func (c *Client) Scrape(ctx context.Context, tracker string, hashes ...[20]byte) ([]ScrapeResult, error) {
	t, err := parseTarget(tracker, c.trusts)
	if err != nil {
		return nil, err
	}
	if len(hashes) == 0 || len(hashes) > maxScrape {
		return nil, fmt.Errorf("scrape: %d info-hashes, not 1 to %d", len(hashes), maxScrape)
	}
	var res []ScrapeResult
	if t.url.Scheme == "udp" {
		res, err = c.scrapeUDP(ctx, t, hashes)
	} else {
		res, err = c.scrapeHTTP(ctx, t, hashes)
	}
	if err != nil {
		return nil, fmt.Errorf("scrape %s: %w", DisplayURL(tracker), scrubbed(err, tracker))
	}
	return res, nil
}

// scrub takes the passkey of the torrent's URL out of a tracker's text.
func scrub(text, tracker string) string {
	if u, err := url.Parse(strings.TrimSpace(tracker)); err == nil && text != "" {
		return guard.Scrub(text, u)
	}
	return text
}

// scrubbed does the same to a refusal, or another error.
func scrubbed(err error, tracker string) error {
	if refusal, ok := errors.AsType[*FailureError](err); ok {
		clean := *refusal
		clean.Reason = scrub(refusal.Reason, tracker)
		return &clean
	}
	if u, perr := url.Parse(strings.TrimSpace(tracker)); perr == nil {
		return guard.RedactError(err, u)
	}
	return err
}
