package monitor

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"
)

// Interval is the time between two looks.
const Interval = 3 * time.Second

// Change is a change of this computer's addresses.
type Change struct {
	Have         []netip.Addr // all there are now, sorted; none: there is no network
	Gained, Lost []netip.Addr
}

// Watch calls changed after each change, until ctx ends. The first look is made
// at once, and reported only if there is no network, as a change without gain and
// loss. read lists the addresses; nil asks the system. A look that fails
// counts as none.
func Watch(ctx context.Context, read func() ([]netip.Addr, error), changed func(Change)) {
	if read == nil {
		read = System
	}
	last, err := read()
	if err == nil && len(last) == 0 {
		changed(Change{})
	}
	t := time.NewTicker(Interval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		now, err := read()
		if err != nil || slices.Equal(now, last) {
			continue
		}
		c := Change{Have: now, Gained: without(now, last), Lost: without(last, now)}
		last = now
		changed(c)
	}
}

// without is the addresses of a that are not in b.
func without(a, b []netip.Addr) (out []netip.Addr) {
	for _, x := range a {
		if !slices.Contains(b, x) {
			out = append(out, x)
		}
	}
	return out
}

// System lists the addresses of this computer by which others could be reached,
// sorted: of interfaces that work, without loopback and link-local addresses.
func System() ([]netip.Addr, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	var out []netip.Addr
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagRunning == 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue // it went away meanwhile
		}
		for _, a := range addrs {
			if p, ok := a.(*net.IPNet); ok {
				if ip, ok := netip.AddrFromSlice(p.IP); ok && ip.Unmap().IsGlobalUnicast() {
					out = append(out, ip.Unmap())
				}
			}
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out), nil
}
