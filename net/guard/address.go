package guard

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"torrentfs/internal/safetext"
)

var (
	// ErrForbidden: the host must not be contacted on behalf of a torrent.
	ErrForbidden = errors.New("address not allowed for a torrent")
	// ErrNoHost: there is no host to contact.
	ErrNoHost = errors.New("no host")
)

// CheckName refuses host names that must not reach DNS: those of anonymous
// networks (ErrForbidden), and no name at all (ErrNoHost).
func CheckName(host string) error {
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	switch {
	case name == "":
		return ErrNoHost
	case strings.HasSuffix(name, ".i2p"), strings.HasSuffix(name, ".onion"):
		return fmt.Errorf("resolve %s: %w: name outside DNS", printable(host), ErrForbidden)
	}
	return nil
}

// IsLocalName reports whether host is written as an address that is not public.
func IsLocalName(host string) bool {
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(name)
	return err == nil && !IsPublic(addr)
}

// IsPublic reports whether addr belongs to the Internet at large: not to this host, this network, a
// multicast group, or a reserved range. Addresses that carry an IPv4 address inside are judged by
// that.
func IsPublic(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		b := addr.As16()
		switch {
		case nat64.Contains(addr):
			return IsPublic(netip.AddrFrom4([4]byte(b[12:])))
		case sixTo4.Contains(addr):
			return IsPublic(netip.AddrFrom4([4]byte(b[2:6])))
		}
	}
	if !addr.IsGlobalUnicast() || addr.IsPrivate() {
		return false
	}
	for _, p := range special {
		if p.Contains(addr) {
			return false
		}
	}
	return true
}

// special are the ranges without a public host that netip has no method for.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),       // this network
	netip.MustParsePrefix("100.64.0.0/10"),   // carrier-grade NAT
	netip.MustParsePrefix("192.0.0.0/24"),    // protocol assignments
	netip.MustParsePrefix("198.18.0.0/15"),   // benchmarks
	netip.MustParsePrefix("240.0.0.0/4"),     // reserved, broadcast
	netip.MustParsePrefix("fec0::/10"),       // site-local, deprecated
	netip.MustParsePrefix("::/96"),           // IPv4-compatible, deprecated
	netip.MustParsePrefix("64:ff9b:1::/48"),  // local NAT64
	netip.MustParsePrefix("::ffff:0:0:0/96"), // SIIT
}

var (
	nat64  = netip.MustParsePrefix("64:ff9b::/96")
	sixTo4 = netip.MustParsePrefix("2002::/16")
)

// IsReachable reports whether a packet to addr can have one receiver.
func IsReachable(addr netip.Addr) bool {
	addr = addr.Unmap()
	return addr.IsValid() && !addr.IsUnspecified() && !addr.IsMulticast() &&
		addr != netip.AddrFrom4([4]byte{255, 255, 255, 255}) &&
		!(addr.Is4() && addr.As4()[0] == 0)
}

// printable makes a stranger's host name fit for an error's text.
func printable(host string) string { return safetext.Clip(host, 253) }
