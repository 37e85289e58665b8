package portmap

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// PCP (RFC 6887): the MAP opcode alone.
const (
	pcpVersion   = 2
	pcpAnnounce  = 0
	pcpMap       = 1
	pcpHeader    = 24
	pcpMapLength = pcpHeader + 36
)

// pcp is a router that speaks PCP.
type pcp struct {
	route Route
	port  uint16
	nonce [12]byte // proves to the router that a mapping is ours

	mu       sync.Mutex
	external netip.Addr // as of the last mapping
}

func findPCP(ctx context.Context, r Route) (Gateway, error) {
	g := &pcp{route: r, port: gatewayPort}
	_, _ = rand.Read(g.nonce[:]) // never fails
	if _, err := g.exchange(ctx, g.header(pcpAnnounce, 0), pcpHeader); err != nil {
		return nil, err
	}
	return g, nil
}

func (g *pcp) Name() string { return "PCP " + g.route.Gateway.String() }

func (g *pcp) header(opcode byte, life uint32) []byte {
	b := make([]byte, pcpHeader, pcpMapLength)
	b[0], b[1] = pcpVersion, opcode
	binary.BigEndian.PutUint32(b[4:], life)
	local := g.route.Local.As16() // IPv4 as mapped: as section 5 requires
	copy(b[8:], local[:])
	return b
}

func (g *pcp) mapping(m Mapping, external uint16, life uint32) []byte {
	b := g.header(pcpMap, life)
	b = append(b, g.nonce[:]...)
	protocol := byte(6)
	if m.Protocol == UDP {
		protocol = 17
	}
	b = append(b, protocol, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, m.Port)
	b = binary.BigEndian.AppendUint16(b, external)
	any4 := netip.IPv4Unspecified().As16()
	if g.route.Local.Is6() {
		any4 = netip.IPv6Unspecified().As16()
	}
	return append(b, any4[:]...)
}

func (g *pcp) Map(ctx context.Context, m Mapping, external uint16, life time.Duration) (uint16, time.Duration, error) {
	req := g.mapping(m, external, uint32(life/time.Second))
	resp, err := g.exchange(ctx, req, pcpMapLength)
	if err != nil {
		return 0, 0, fmt.Errorf("request PCP mapping: %w", err)
	}
	if string(resp[pcpHeader:pcpHeader+13]) != string(req[pcpHeader:pcpHeader+13]) || binary.BigEndian.Uint16(resp[40:]) != m.Port {
		return 0, 0, errors.New("request PCP mapping: answer is for another one")
	}
	g.mu.Lock()
	g.external = netip.AddrFrom16([16]byte(resp[44:60])).Unmap()
	g.mu.Unlock()
	return binary.BigEndian.Uint16(resp[42:]), time.Duration(binary.BigEndian.Uint32(resp[4:])) * time.Second, nil
}

func (g *pcp) Unmap(ctx context.Context, m Mapping, external uint16) error {
	if _, err := g.exchange(ctx, g.mapping(m, external, 0), pcpMapLength); err != nil {
		return fmt.Errorf("remove PCP mapping: %w", err)
	}
	return nil
}

func (g *pcp) External(context.Context) (netip.Addr, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.external, nil
}

func (g *pcp) exchange(ctx context.Context, req []byte, size int) ([]byte, error) {
	return exchange(ctx, g.route, g.port, req, func(b []byte) (bool, error) { return checkPCP(b, req[1], size) })
}

// checkPCP reports whether b answers a request with the opcode; other packets are ignored. The
// error is the router's refusal.
func checkPCP(b []byte, opcode byte, size int) (ok bool, err error) {
	if len(b) < 4 || b[1]&0x80 == 0 && b[0] == pcpVersion {
		return false, nil
	}
	if b[0] != pcpVersion {
		return false, fmt.Errorf("router speaks version %d", b[0])
	}
	if b[1] != opcode|0x80 {
		return false, nil
	}
	if b[3] != 0 {
		return false, fmt.Errorf("router refuses with code %d", b[3])
	}
	return len(b) >= size, nil
}
