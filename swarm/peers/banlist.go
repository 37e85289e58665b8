package peers

import (
	"fmt"
	"net/netip"
)

// maxBans bounds each part of a ban list.
const maxBans = 4096

// banList remembers from where wrong data came. One liar is banned alone: there may be others behind the address. A
// second one bans the network, since a liar that dials us has as many ports as it likes. Its zero value is empty and
// ready.
type banList struct {
	first    map[netip.Prefix]netip.AddrPort // the first liar of a network
	networks map[netip.Prefix]bool           // those with two
}

// ban adds who sent wrong data.
func (l *banList) ban(addr netip.AddrPort) {
	p := neighbourhood(addr.Addr())
	first, known := l.first[p]
	switch {
	case addr.Addr().IsLoopback(): // everybody on this machine
	case known && first != addr:
		remember(&l.networks, p, true)
	case !known:
		remember(&l.first, p, addr)
	}
}

// has reports whether an address is banned, by itself or with its network.
func (l *banList) has(addr netip.AddrPort) bool {
	p := neighbourhood(addr.Addr())
	return l.networks[p] || l.first[p] == addr
}

// remember adds to a map of bounded size; what goes for it is left to chance.
func remember[V any](m *map[netip.Prefix]V, p netip.Prefix, v V) {
	if *m == nil {
		*m = map[netip.Prefix]V{}
	}
	if len(*m) >= maxBans {
		for old := range *m {
			delete(*m, old)
			break
		}
	}
	(*m)[p] = v
}

// CheckInvariants reports the first contradiction in the list, for tests.
func (l *banList) CheckInvariants() error {
	if n := max(len(l.first), len(l.networks)); n > maxBans {
		return fmt.Errorf("%d networks are remembered, %d at most", n, maxBans)
	}
	return nil
}
