package egress

import (
	"net"
	"net/netip"
)

// OwnPrefixes are this machine's addresses, each with the length of its network's
// prefix; none if the system does not tell.
func OwnPrefixes() []netip.Prefix {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	own := make([]netip.Prefix, 0, len(addrs))
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			own = append(own, netip.PrefixFrom(p.Addr().Unmap().WithZone(""), p.Bits()))
		}
	}
	return own
}
