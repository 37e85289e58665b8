package egress

import (
	"bytes"
	"encoding/binary"
	"errors"
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
	socksAssociate   = 3
	socksIPv4        = 1
	socksName        = 3
	socksIPv6        = 4
)

// socksReplies are the refusals of RFC 1928, section 6, from 1 on.
var socksReplies = [...]string{
	"general failure", "not allowed by its rules", "network unreachable", "host unreachable",
	"connection refused", "time-out", "command not supported", "address type not supported",
}

// refusal is the code of an answer that is not yes.
type refusal byte

func (r refusal) Error() string {
	if int(r) <= len(socksReplies) {
		return socksReplies[r-1]
	}
	return fmt.Sprintf("code %d", byte(r))
}

// Unwrap tells whether the proxy's rules are against it, or it was not possible.
func (r refusal) Unwrap() error {
	if r == 2 {
		return ErrProxyForbids
	}
	return ErrTarget
}

// greetSOCKS authenticates us to the proxy.
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
	_, err = askSOCKS(rw, req)
	if r, ok := errors.AsType[refusal](err); ok {
		return fmt.Errorf("%w: %w", r.Unwrap(), r)
	}
	return err
}

// associateSOCKS asks for a relay of datagrams, and returns where it is; that is
// the zero AddrPort if the proxy gives a name. We do not say from where we
// would send: a router on the way may change it.
func associateSOCKS(rw io.ReadWriter) (netip.AddrPort, error) {
	return askSOCKS(rw, appendAddrPort([]byte{socksVersion, socksAssociate, 0}, netip.AddrPortFrom(netip.IPv4Unspecified(), 0)))
}

// askSOCKS makes a request, and returns the address that its answer names.
func askSOCKS(rw io.ReadWriter, req []byte) (bound netip.AddrPort, err error) {
	if _, err := rw.Write(req); err != nil {
		return bound, err
	}
	var b [4]byte
	if err := readAll(rw, b[:]); err != nil {
		return bound, err
	}
	if b[0] != socksVersion {
		return bound, ErrNoProxy
	}
	if b[1] != 0 {
		return bound, refusal(b[1])
	}
	bound, _, err = readAddress(io.MultiReader(bytes.NewReader(b[3:]), rw))
	return bound, err
}

// readAddress reads an address in the form of RFC 1928, section 5: an AddrPort, or
// a name with its port.
func readAddress(r io.Reader) (addr netip.AddrPort, name NameAddr, err error) {
	var b [255 + 2]byte
	if err := readAll(r, b[:1]); err != nil {
		return addr, name, err
	}
	var n int
	kind := b[0]
	switch kind {
	case socksIPv4:
		n = 4
	case socksIPv6:
		n = 16
	case socksName:
		if err := readAll(r, b[:1]); err != nil {
			return addr, name, err
		}
		n = int(b[0])
	default:
		return addr, name, fmt.Errorf("%w: address of type %d", ErrNoProxy, kind)
	}
	if err := readAll(r, b[:n+2]); err != nil {
		return addr, name, err
	}
	port := binary.BigEndian.Uint16(b[n:])
	if kind == socksName {
		return addr, NameAddr{string(b[:n]), port}, nil
	}
	a, _ := netip.AddrFromSlice(b[:n])
	return netip.AddrPortFrom(a.Unmap(), port), name, nil
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
		return appendAddrPort(b, netip.AddrPortFrom(addr, uint16(port))), nil
	}
	if len(host) == 0 || len(host) > 255 {
		return nil, fmt.Errorf("host name of %d bytes", len(host))
	}
	b = append(append(b, socksName, byte(len(host))), host...)
	return binary.BigEndian.AppendUint16(b, uint16(port)), nil
}

func appendAddrPort(b []byte, to netip.AddrPort) []byte {
	if a := to.Addr().Unmap(); a.Is4() {
		four := a.As4()
		b = append(append(b, socksIPv4), four[:]...)
	} else {
		sixteen := a.As16()
		b = append(append(b, socksIPv6), sixteen[:]...)
	}
	return binary.BigEndian.AppendUint16(b, to.Port())
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
