package peers

import (
	"net/netip"

	"torrentfs/net/guard"
)

// neighbourhood is the network in which one party may have every address: it is trusted and mistrusted as a whole.
func neighbourhood(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // fails for no address, which then has a prefix of its own
	return p
}

// mayHear keeps addresses inside a network: a peer outside is not told of them, and is not believed when it names them.
func mayHear(who, addr netip.Addr) bool {
	return guard.IsPublic(addr) || !guard.IsPublic(who)
}

// mayName is mayHear for addresses that are contacted at a peer's word: only this computer may name itself.
func mayName(who, addr netip.Addr) bool {
	return mayHear(who, addr) && (!addr.IsLoopback() || who.IsLoopback())
}

// mayCall reports whether an address may be contacted because a relay names it.
func mayCall(relay, addr netip.AddrPort) bool {
	return guard.IsReachable(addr.Addr()) && addr.Port() != 0 && mayName(relay.Addr(), addr.Addr())
}
