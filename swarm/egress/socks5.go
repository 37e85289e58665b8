package egress

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
)

// SOCKS5 (RFC 1928), and its user name and password (RFC 1929).
const (
	socksVersion     = 5
	socksNoAuth      = 0
	socksPassword    = 2
	socksNone        = 0xff
	socksAuthVersion = 1
	socksConnect     = 1
	socksIPv4        = 1
	socksName        = 3
	socksIPv6        = 4
)

// socksReplies are the refusals of RFC 1928, section 6, from 1 on.
var socksReplies = [...]string{
	"general failure", "not allowed by its rules", "network unreachable", "host unreachable",
	"connection refused", "time-out", "command not supported", "address type not supported",
}

// greetSOCKS agrees with the proxy on who we are.
func (p *Proxy) greetSOCKS(rw io.ReadWriter) error {
	hello := []byte{socksVersion, 1, socksNoAuth}
	if p.auth {
		hello = []byte{socksVersion, 2, socksNoAuth, socksPassword}
	}
	if _, err := rw.Write(hello); err != nil {
		return err
	}
	var b [2]byte
	if err := readAll(rw, b[:]); err != nil {
		return err
	}
	switch {
	case b[0] != socksVersion:
		return ErrNoProxy
	case b[1] == socksNoAuth:
		return nil
	case b[1] == socksNone:
		return ErrProxyAuth
	case b[1] != socksPassword || !p.auth:
		return fmt.Errorf("%w: it chose method %d, which was not offered", ErrNoProxy, b[1])
	}
	req := append([]byte{socksAuthVersion, byte(len(p.user))}, p.user...)
	req = append(append(req, byte(len(p.password))), p.password...)
	if _, err := rw.Write(req); err != nil {
		return err
	}
	if err := readAll(rw, b[:]); err != nil {
		return err
	}
	if b[1] != 0 { // some proxies get the version before it wrong
		return ErrProxyAuth
	}
	return nil
}

// connectSOCKS asks for a connection, and reads no byte behind the answer.
func connectSOCKS(rw io.ReadWriter, target string) error {
	req, err := appendTarget([]byte{socksVersion, socksConnect, 0}, target)
	if err != nil {
		return err
	}
	if _, err := rw.Write(req); err != nil {
		return err
	}
	var b [4]byte
	if err := readAll(rw, b[:]); err != nil {
		return err
	}
	if b[0] != socksVersion {
		return ErrNoProxy
	}
	switch code := int(b[1]); {
	case code == 0:
	case code == 2:
		return fmt.Errorf("%w: %s", ErrProxyForbids, socksReplies[code-1])
	case code <= len(socksReplies):
		return fmt.Errorf("%w: %s", ErrTarget, socksReplies[code-1])
	default:
		return fmt.Errorf("%w: code %d", ErrTarget, code)
	}
	return skipBound(rw, b[3])
}

// skipBound reads the rest of an answer, the address that the proxy uses, which
// is of no interest.
func skipBound(r io.Reader, kind byte) error {
	var n int
	switch kind {
	case socksIPv4:
		n = 4
	case socksIPv6:
		n = 16
	case socksName:
		var length [1]byte
		if err := readAll(r, length[:]); err != nil {
			return err
		}
		n = int(length[0])
	default:
		return fmt.Errorf("%w: address of type %d", ErrNoProxy, kind)
	}
	var b [255 + 2]byte
	return readAll(r, b[:n+2])
}

// appendTarget appends a "host:port" in the form of RFC 1928, section 5.
func appendTarget(b []byte, target string) ([]byte, error) {
	host, portText, err := net.SplitHostPort(target)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("parse port: %w", err)
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		addr = addr.Unmap().WithZone("")
		if addr.Is4() {
			b = append(b, socksIPv4)
		} else {
			b = append(b, socksIPv6)
		}
		b = append(b, addr.AsSlice()...)
	} else if len(host) == 0 || len(host) > 255 {
		return nil, fmt.Errorf("host name of %d bytes", len(host))
	} else {
		b = append(append(b, socksName, byte(len(host))), host...)
	}
	return append(b, byte(port>>8), byte(port)), nil
}

// readAll fills b; a proxy that hangs up is no proxy of ours.
func readAll(r io.Reader, b []byte) error {
	if _, err := io.ReadFull(r, b); err != nil {
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return fmt.Errorf("the proxy hung up: %w", io.ErrUnexpectedEOF)
		}
		return err
	}
	return nil
}
