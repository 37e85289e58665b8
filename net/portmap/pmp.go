package portmap

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"
)

// NAT-PMP (RFC 6886): two requests of a few bytes. The libraries for it open
// sockets of their own, which no interface can be chosen for.
const (
	pmpExternal       = 0
	pmpMapUDP         = 1
	pmpMapTCP         = 2
	pmpExternalLength = 12
	pmpMapLength      = 16
)

// pmp is a router that speaks NAT-PMP.
type pmp struct {
	route Route
	port  uint16
}

func findPMP(ctx context.Context, r Route) (Gateway, error) {
	g := &pmp{r, gatewayPort}
	if _, err := g.External(ctx); err != nil {
		return nil, err
	}
	return g, nil
}

func (g *pmp) Name() string { return "NAT-PMP " + g.route.Gateway.String() }

func (g *pmp) Map(ctx context.Context, m Mapping, external uint16, life time.Duration) (uint16, time.Duration, error) {
	resp, err := g.exchange(ctx, pmpMapping(m, external, uint32(life/time.Second)), pmpMapLength)
	if err != nil {
		return 0, 0, fmt.Errorf("request NAT-PMP mapping: %w", err)
	}
	if port := binary.BigEndian.Uint16(resp[8:]); port != m.Port {
		return 0, 0, fmt.Errorf("request NAT-PMP mapping: answer is for port %d", port)
	}
	return binary.BigEndian.Uint16(resp[10:]), time.Duration(binary.BigEndian.Uint32(resp[12:])) * time.Second, nil
}

// pmpMapping is section 3.3; a life of 0 removes (section 3.4).
func pmpMapping(m Mapping, external uint16, life uint32) []byte {
	opcode := byte(pmpMapTCP)
	if m.Protocol == UDP {
		opcode = pmpMapUDP
	}
	b := binary.BigEndian.AppendUint16([]byte{0, opcode, 0, 0}, m.Port)
	b = binary.BigEndian.AppendUint16(b, external)
	return binary.BigEndian.AppendUint32(b, life)
}

func (g *pmp) Unmap(ctx context.Context, m Mapping, _ uint16) error {
	if _, err := g.exchange(ctx, pmpMapping(m, 0, 0), pmpMapLength); err != nil {
		return fmt.Errorf("remove NAT-PMP mapping: %w", err)
	}
	return nil
}

func (g *pmp) External(ctx context.Context) (netip.Addr, error) {
	resp, err := g.exchange(ctx, []byte{0, pmpExternal}, pmpExternalLength)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("request NAT-PMP address: %w", err)
	}
	return netip.AddrFrom4([4]byte(resp[8:12])), nil
}

func (g *pmp) exchange(ctx context.Context, req []byte, size int) ([]byte, error) {
	return exchange(ctx, g.route, g.port, req, func(b []byte) (bool, error) { return checkPMP(b, req[1], size) })
}

// checkPMP is checkPCP for this protocol. A router that speaks only PCP answers with its version.
func checkPMP(b []byte, opcode byte, size int) (ok bool, err error) {
	if len(b) < 4 || b[1] != opcode|0x80 {
		return false, nil
	}
	if b[0] != 0 {
		return false, fmt.Errorf("router speaks version %d", b[0])
	}
	if code := binary.BigEndian.Uint16(b[2:]); code != 0 {
		return false, fmt.Errorf("router refuses with code %d", code)
	}
	return len(b) >= size, nil
}
