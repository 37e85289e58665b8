package announce

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"torrentfs/net/egress"
	"torrentfs/net/guard"
)

const (
	udpTimeout = 15 * time.Second // of the first transmission; doubles with each (BEP 15)
	// familyGrace is how long the slower address family of a tracker may keep
	// an announce open that the other one has answered. Peers do not wait for
	// it, and it is below the patience after which other trackers are tried.
	familyGrace = 2 * time.Second
)

// announceUDP announces over each address family that the tracker has: the
// connection id, the answer's peers and our address as the tracker sees it all
// belong to one family (BEP 15). One family that works is success.
func (c *Client) announceUDP(ctx context.Context, t target, r Request, found func(Response)) (Response, error) {
	urlData := urlDataOf(t.url)
	build := func(b []byte, conn uint64, tid uint32) []byte {
		return appendAnnounce(b, conn, tid, r, urlData)
	}
	addrs, err := c.udpAddrs(ctx, t)
	if err != nil {
		return Response{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	type result struct {
		resp Response
		err  error
	}
	results := make(chan result, len(addrs)) // no sender ever waits
	for _, to := range addrs {
		go func() {
			body, at, err := c.udp.request(ctx, to, actionAnnounce, build)
			if err != nil {
				results <- result{err: err}
				return
			}
			resp, err := decodeUDPAnnounce(body, at.addr.Addr().Is6())
			results <- result{resp, err}
		}()
	}
	var sum *Response
	var errs []error
	for range addrs {
		res := <-results
		switch {
		case res.err != nil:
			errs = append(errs, res.err)
		case sum == nil:
			found(res.resp)
			sum = &res.resp
			grace := time.AfterFunc(familyGrace, cancel)
			defer grace.Stop()
		default:
			found(res.resp)
			sum.add(res.resp)
		}
	}
	if sum == nil {
		return Response{}, errors.Join(errs...)
	}
	return *sum, nil
}

// add merges the other family's answer: the same tracker's view of the same
// swarm, so counts are not added up.
func (r *Response) add(o Response) {
	r.Interval = max(r.Interval, o.Interval)
	r.MinInterval = max(r.MinInterval, o.MinInterval)
	r.Seeders = max(r.Seeders, o.Seeders)
	r.Leechers = max(r.Leechers, o.Leechers)
	r.Peers = append(r.Peers, o.Peers...)
}

// scrapeUDP scrapes over the first address family that answers.
func (c *Client) scrapeUDP(ctx context.Context, t target, hashes [][20]byte) ([]ScrapeResult, error) {
	addrs, err := c.udpAddrs(ctx, t)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, to := range addrs {
		body, _, err := c.udp.request(ctx, to, actionScrape, func(b []byte, conn uint64, tid uint32) []byte {
			return appendScrape(b, conn, tid, hashes)
		})
		if err == nil {
			return decodeUDPScrape(body, len(hashes))
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// udpAddrs returns the tracker's first allowed address of each family, or its name if a proxy is to
// look it up.
func (c *Client) udpAddrs(ctx context.Context, t target) ([]endpoint, error) {
	port, err := strconv.ParseUint(t.url.Port(), 10, 16)
	if err != nil || port == 0 {
		return nil, fmt.Errorf("parse tracker URL: port: %w", ErrURL)
	}
	ctx, host := guard.WithLocal(ctx, t.local), t.url.Hostname()
	if c.cfg.Network.Proxied() {
		if err := c.cfg.Network.NoRelay(); err != nil {
			return nil, fmt.Errorf("ask a UDP tracker: %w: %w", egress.ErrProxied, err)
		}
		if err := c.dialer.CheckRemote(host); err != nil {
			return nil, err
		}
		if addr, err := netip.ParseAddr(host); err == nil {
			return []endpoint{{addr: netip.AddrPortFrom(addr.Unmap(), uint16(port))}}, nil
		}
		return []endpoint{{name: egress.NameAddr{Host: host, Port: uint16(port)}}}, nil
	}
	addrs, err := c.dialer.Resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	addrs = guard.Interleave(addrs)
	out := []endpoint{{addr: netip.AddrPortFrom(addrs[0], uint16(port))}}
	if len(addrs) > 1 && addrs[1].Is4() != addrs[0].Is4() {
		out = append(out, endpoint{addr: netip.AddrPortFrom(addrs[1], uint16(port))})
	}
	return out, nil
}

// urlDataOf returns the path and query of a tracker's URL for BEP 41.
func urlDataOf(u *url.URL) string {
	s := u.EscapedPath()
	if u.RawQuery != "" {
		s += "?" + u.RawQuery
	}
	return s
}

// request makes one request with its retransmissions: connect if no valid connection id is at hand,
// then what build makes of that id, to where it came from. It returns the reply's body, and who
// sent it. The wait doubles with each loss, of either packet; an id that expires meanwhile is
// renewed (BEP 15).
func (u *udpClient) request(ctx context.Context, to endpoint, action uint32, build func(b []byte, conn uint64, tid uint32) []byte) ([]byte, endpoint, error) {
	fresh := false // the connection id was given in this request
	for n := 0; ; {
		conn, cached := u.connection(to)
		at, want := to, uint32(actionConnect)
		packet := func(tid uint32) []byte { return appendConnect(nil, tid) }
		if cached {
			at, want = conn.at, action
			packet = func(tid uint32) []byte { return build(nil, conn.id, tid) }
		}
		body, from, err := u.exchange(ctx, at, want, packet, udpTimeout<<n)
		switch {
		case errors.Is(err, ErrTimeout):
			if n++; n > u.retries {
				return nil, at, err
			}
		case err != nil && cached && !fresh && isFailure(err):
			// Perhaps the refusal is about the connection id: the tracker may
			// have been restarted since it gave it.
			u.forget(to)
		case err != nil:
			return nil, at, err
		case cached:
			return body, from, nil
		default:
			id, err := decodeConnect(body)
			if err != nil {
				return nil, at, err
			}
			u.remember(to, connection{id: id, at: from})
			fresh = true
		}
	}
}

func isFailure(err error) bool {
	_, ok := errors.AsType[*FailureError](err)
	return ok
}
