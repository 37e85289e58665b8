package portmap

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"
)

const (
	gatewayPort = 5351 // of PCP and NAT-PMP
	mostBytes   = 1100 // of a packet (RFC 6887, section 7)
	firstWait   = 250 * time.Millisecond
)

// exchange sends a request to the gateway until it is answered, or ctx or
// requestTimeout end it. check reports whether a packet is the answer; its error
// is the router's refusal.
func exchange(ctx context.Context, r Route, port uint16, req []byte, check func(b []byte) (bool, error)) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	conn, err := r.Network.DialFrom(ctx, r.Local, netip.AddrPortFrom(r.Gateway, port))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	buf := make([]byte, mostBytes)
	for wait := firstWait; ; wait *= 2 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if _, err := conn.Write(req); err != nil {
			return nil, err
		}
		resend := time.Now().Add(wait)
		for {
			if err := conn.SetReadDeadline(resend); err != nil {
				return nil, err
			}
			if err := ctx.Err(); err != nil { // AfterFunc may have been before the line above
				return nil, err
			}
			n, err := conn.Read(buf)
			if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
				break
			}
			if err != nil {
				return nil, err
			}
			if ok, err := check(buf[:n]); ok || err != nil {
				return buf[:n], err
			}
		}
	}
}
