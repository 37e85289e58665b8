package guard

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// localSuffixes are the endings of names that mean a network, not the Internet
// (RFC 6761, 6762, 8375, and what routers use without asking).
var localSuffixes = []string{
	"localhost", "local", "localdomain", "internal", "intranet", "private", "corp", "home", "lan", "home.arpa", "arpa",
}

// CheckRemote judges a host whose name a proxy will resolve: its addresses cannot be seen.
// Addresses are judged as usual, private allows those that are not public. Of names, those are
// refused (ErrForbidden) that lead nowhere or into the proxy's own network: without a dot, or with
// an ending that means a network; and those that end in a number, because many resolvers take
// "127.1" or "0x7f000001" for an address.
func CheckRemote(host string, private bool) error {
	if err := CheckName(host); err != nil {
		return err
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		if addr = addr.Unmap(); addr.Zone() == "" && IsReachable(addr) && (private || IsPublic(addr)) {
			return nil
		}
		return fmt.Errorf("dial %s: %w", printable(host), forbidden(host))
	}
	labels := strings.Split(strings.ToLower(strings.TrimSuffix(host, ".")), ".")
	last := labels[len(labels)-1]
	switch {
	case slices.Contains(labels, ""), isNumber(last):
		return fmt.Errorf("dial %s: %w: neither a name nor an address", printable(host), ErrForbidden)
	case len(labels) == 1, slices.ContainsFunc(localSuffixes, func(s string) bool { return strings.HasSuffix("."+strings.Join(labels, "."), "."+s) }):
		return fmt.Errorf("dial %s: %w: the name is of the proxy's own network", printable(host), forbidden(host))
	}
	return nil
}

// isNumber reports whether a resolver could take a label for a number, as the
// WHATWG's URL standard has it for hosts.
func isNumber(label string) bool {
	if hex, ok := strings.CutPrefix(label, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(label, "0123456789") == ""
}
