package peers

import "net/netip"

// maxBans bounds the networks of which one liar is known.
const maxBans = 4096

// banList remembers from where wrong data came. One liar is banned alone: there may be others behind the address. A second
// one bans the address, since a liar that dials us has as many ports as it likes.
type banList struct {
	first  map[netip.Prefix]netip.AddrPort
	banned map[netip.Prefix]bool
}

func (l *banList) note(addr netip.AddrPort) {
	p := neighbourhood(addr.Addr())
	first, known := l.first[p]
	switch {
	case addr.Addr().IsLoopback(): // everybody on this machine
	case known && first != addr:
		remember(&l.banned, p, true)
	case !known:
		remember(&l.first, p, addr)
	}
}

func (l *banList) has(addr netip.AddrPort) bool {
	p := neighbourhood(addr.Addr())
	return l.banned[p] || l.first[p] == addr
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
