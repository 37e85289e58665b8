package portmap

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"

	"github.com/libp2p/go-netroute"

	"torrentfs/net/egress"
)

// systemRoute finds the way to the Internet in the system's tables. It sends nothing. If another
// interface than the one that we are bound to leads there, there is no router that we could ask,
// unless one answers UPnP's search.
func systemRoute(network *egress.Network) (Route, error) {
	router, err := netroute.New()
	if err != nil {
		return Route{}, fmt.Errorf("read routes: %w", err)
	}
	on, gateway, local, err := router.Route(net.IPv4(192, 0, 2, 1)) // documentation: like any address outside
	if err != nil {
		return Route{}, fmt.Errorf("find route: %w", err)
	}
	if name := network.Interface(); name != "" && (on == nil || on.Name != name) {
		return Route{}, fmt.Errorf("find route: it is not by %s", name)
	}
	g, ok := netip.AddrFromSlice(gateway)
	l, ok2 := netip.AddrFromSlice(local)
	if !ok || !ok2 || g.IsUnspecified() {
		return Route{}, errors.New("find route: no gateway")
	}
	return Route{Local: l.Unmap(), Gateway: g.Unmap(), Network: network}, nil
}

// findNewer finds a router that speaks PCP, or NAT-PMP, whose successor it is:
// many speak both.
func findNewer(ctx context.Context, r Route) (Gateway, error) {
	g, err := findPCP(ctx, r)
	if err == nil {
		return g, nil
	}
	g, second := findPMP(ctx, r)
	if second != nil {
		return nil, errors.Join(err, second)
	}
	return g, nil
}

// discover tries all protocols at once. The channel is closed when all have
// been tried or ctx has ended.
func discover(ctx context.Context, r Route, description string, logger *slog.Logger) <-chan Gateway {
	out := make(chan Gateway)
	var wg sync.WaitGroup
	try := func(name string, find func(context.Context, Route) (Gateway, error)) {
		wg.Go(func() {
			g, err := find(ctx, r)
			if err != nil {
				logger.Debug("find router", "protocol", name, "err", err)
				return
			}
			select {
			case out <- g:
			case <-ctx.Done():
			}
		})
	}
	if r.Gateway.IsValid() {
		try("PCP or NAT-PMP", findNewer)
	}
	try("UPnP", func(ctx context.Context, r Route) (Gateway, error) { return findUPnP(ctx, r, description) })
	go func() {
		wg.Wait()
		close(out)
	}()
	return out
}
