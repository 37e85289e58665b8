package portmap

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	natpmp "github.com/jackpal/go-nat-pmp"
)

// pmp is a router that speaks NAT-PMP (RFC 6886).
type pmp struct{ route Route }

func findPMP(ctx context.Context, r Route) (Gateway, error) {
	g := &pmp{r}
	if _, err := g.External(ctx); err != nil {
		return nil, err
	}
	return g, nil
}

func (g *pmp) Name() string { return "NAT-PMP " + g.route.Gateway.String() }

// client is one exchange: the library knows no context, but a time limit.
func (g *pmp) client(ctx context.Context) *natpmp.Client {
	limit := requestTimeout
	if at, ok := ctx.Deadline(); ok {
		limit = max(min(limit, time.Until(at)), time.Millisecond)
	}
	return natpmp.NewClientWithLocalAndTimeout(g.route.Gateway.AsSlice(), g.route.Local.AsSlice(), limit)
}

func (g *pmp) Map(ctx context.Context, m Mapping, external uint16, life time.Duration) (uint16, time.Duration, error) {
	r, err := g.client(ctx).AddPortMapping(m.Protocol.String(), int(m.Port), int(external), int(life/time.Second))
	if err != nil {
		return 0, 0, fmt.Errorf("request NAT-PMP mapping: %w", err)
	}
	if r.InternalPort != m.Port {
		return 0, 0, fmt.Errorf("request NAT-PMP mapping: answer is for port %d", r.InternalPort)
	}
	return r.MappedExternalPort, time.Duration(r.PortMappingLifetimeInSeconds) * time.Second, nil
}

func (g *pmp) Unmap(ctx context.Context, m Mapping, _ uint16) error {
	if _, err := g.client(ctx).AddPortMapping(m.Protocol.String(), int(m.Port), 0, 0); err != nil {
		return fmt.Errorf("remove NAT-PMP mapping: %w", err)
	}
	return nil
}

func (g *pmp) External(ctx context.Context) (netip.Addr, error) {
	r, err := g.client(ctx).GetExternalAddress()
	if err != nil {
		return netip.Addr{}, fmt.Errorf("request NAT-PMP address: %w", err)
	}
	return netip.AddrFrom4(r.ExternalIPAddress), nil
}
