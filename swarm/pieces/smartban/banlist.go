package smartban

import (
	"fmt"
	"net/netip"
)

// maxBans bounds each part of a ban list.
const maxBans = 4096

// BanList remembers from where wrong data came. One liar is banned alone: there may be others behind the address. A
// second one bans the network, since a liar that dials us has as many ports as it likes. Its zero value is empty and
// ready.
type BanList struct {
	first    map[netip.Prefix]netip.AddrPort // the first liar of a network
	networks map[netip.Prefix]bool           // those with two
}

// Ban adds who sent wrong data.
func (l *BanList) Ban(addr netip.AddrPort) {
	p := network(addr.Addr())
	first, known := l.first[p]
	switch {
	case addr.Addr().IsLoopback(): // everybody on this machine
	case known && first != addr:
		remember(&l.networks, p, true)
	case !known:
		remember(&l.first, p, addr)
	}
}

// Has reports whether an address is banned, by itself or with its network.
func (l *BanList) Has(addr netip.AddrPort) bool {
	p := network(addr.Addr())
	return l.networks[p] || l.first[p] == addr
}

// network is the network in which one party may have every address: all of IPv4's address, 64 bits of IPv6's.
func network(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // fails for no address, which then has a prefix of its own
	return p
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
func (l *BanList) CheckInvariants() error {
	if n := max(len(l.first), len(l.networks)); n > maxBans {
		return fmt.Errorf("%d networks are remembered, %d at most", n, maxBans)
	}
	return nil
}
