package peers

import (
	"fmt"
	"net/netip"
	"time"
)

// Known is how many addresses are known.
func (p *Pool) Known() int { return len(p.known.list) }

// Live is how many connections there are.
func (p *Pool) Live() int { return p.live }

// Dialing is how many dials are under way.
func (p *Pool) Dialing() int { return p.dialing }

// Prospects is how many addresses may be dialled now.
func (p *Pool) Prospects(now time.Duration) (n int) {
	for _, a := range p.known.list {
		if !a.inUse && !a.banned && a.due <= now {
			n++
		}
	}
	return n
}

// Due is when an address may be dialled next.
func (p *Pool) Due(addr netip.AddrPort) (at time.Duration, known bool) {
	if a := p.known.at(addr); a != nil {
		return a.due, true
	}
	return 0, false
}

// Self is our own address as peers of the family of an address, and trackers, see it; invalid while it is not known.
func (p *Pool) Self(of netip.Addr) netip.Addr { return p.known.self.of(of) }

// Banned reports whether no connection to or from an address is taken.
func (p *Pool) Banned(addr netip.AddrPort) bool {
	a := p.known.at(addr)
	return a != nil && a.banned || p.bans.has(addr)
}

// ByTracker is the addresses that trackers named: the only ones of use to a private torrent.
func (p *Pool) ByTracker() (addrs []netip.AddrPort) {
	for _, a := range p.known.list {
		for _, by := range a.by {
			if by.Kind == ByTracker {
				addrs = append(addrs, a.addr)
				break
			}
		}
	}
	return addrs
}

// CheckInvariants reports the first contradiction in the pool's state, for tests.
func (p *Pool) CheckInvariants() error {
	live, idle, closing := 0, 0, 0
	for i, c := range p.slots {
		if c == nil {
			continue
		}
		live++
		if Slot(c.id) != i {
			return fmt.Errorf("connection %d is in slot %d", c.id, i)
		}
		switch {
		case c.closing:
			closing++
		case c.idle && c.Outgoing:
			idle++
		}
	}
	dials := 0
	for _, a := range p.known.list {
		if p.known.at(a.addr) != a {
			return fmt.Errorf("%v is listed, and not found", a.addr)
		}
		if a.dials < 0 || a.dials > 0 && !a.inUse {
			return fmt.Errorf("%v has %d dials, in use: %v", a.addr, a.dials, a.inUse)
		}
		if a.inUse && a.dials == 0 && !p.reaches(a.addr) {
			return fmt.Errorf("%v is in use by nothing", a.addr)
		}
		if len(a.by) == 0 || len(a.by) > maxIntroducers || len(a.relays) > maxRelays {
			return fmt.Errorf("%v has %d introducers and %d relays", a.addr, len(a.by), len(a.relays))
		}
		dials += a.dials
	}
	switch {
	case live != p.live:
		return fmt.Errorf("%d connections, %d counted", live, p.live)
	case dials > p.dialing || len(p.trying) > p.dialing:
		return fmt.Errorf("%d dials of known addresses, %d of them to be helped, %d counted", dials, len(p.trying), p.dialing)
	case len(p.known.list) != len(p.known.byAddr) || len(p.known.list) > maxAddresses:
		return fmt.Errorf("%d addresses in the list, %d found", len(p.known.list), len(p.known.byAddr))
	case !p.tenant.Search && p.live-closing > p.tenant.MaxPeers:
		return fmt.Errorf("%d connections, at most %d", p.live, p.tenant.MaxPeers)
	case p.tenant.Search && idle > maxIdle:
		return fmt.Errorf("%d connections to peers without metadata", idle)
	}
	return nil
}
