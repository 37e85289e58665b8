package announce

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"
)

// fallbackDelay is how long one address family has a lead over the other, as
// RFC 8305 has it.
const fallbackDelay = 250 * time.Millisecond

// maxDials bounds the addresses of one name that are tried for one connection.
const maxDials = 6

// dialFirst connects to one of addrs: alternating between the families, each
// attempt started when the one before failed or had its lead. The first
// connection wins; the others are closed.
func (c *Client) dialFirst(ctx context.Context, network string, addrs []netip.Addr, port string) (net.Conn, error) {
	addrs = interleave(addrs)
	addrs = addrs[:min(len(addrs), maxDials)]
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	type result struct {
		conn net.Conn
		err  error
	}
	results := make(chan result, len(addrs)) // nobody who reports ever waits
	lead := time.NewTimer(fallbackDelay)
	defer lead.Stop()
	var errs []error
	started, running := 0, 0
	start := func() {
		to := net.JoinHostPort(addrs[started].String(), port)
		started++
		running++
		lead.Reset(fallbackDelay)
		go func() {
			conn, err := c.cfg.Dial(ctx, network, to)
			results <- result{conn, err}
		}()
	}
	start()
	for running > 0 {
		select {
		case <-lead.C:
			if started < len(addrs) {
				start()
			}
		case r := <-results:
			running--
			if r.err == nil {
				cancel()
				for ; running > 0; running-- {
					if late := <-results; late.err == nil {
						late.conn.Close()
					}
				}
				return r.conn, nil
			}
			errs = append(errs, r.err)
			if started < len(addrs) {
				start()
			}
		}
	}
	return nil, errors.Join(errs...)
}

// interleave orders addresses so that the families alternate, beginning with
// that of the first.
func interleave(addrs []netip.Addr) []netip.Addr {
	if len(addrs) == 0 {
		return nil
	}
	var first, second []netip.Addr
	for _, a := range addrs {
		if a.Is4() == addrs[0].Is4() {
			first = append(first, a)
		} else {
			second = append(second, a)
		}
	}
	out := make([]netip.Addr, 0, len(addrs))
	for i := range max(len(first), len(second)) {
		if i < len(first) {
			out = append(out, first[i])
		}
		if i < len(second) {
			out = append(out, second[i])
		}
	}
	return out
}
