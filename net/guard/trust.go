package guard

import (
	"fmt"
	"net/netip"
	"strings"
)

// Trust is the hosts that the user named: they may be at addresses that are not public, and a
// torrent's URL may say anything to them. It is immutable; nil trusts no host.
type Trust struct {
	names map[string]bool
	nets  []netip.Prefix
}

// ParseTrust reads hosts: names, addresses, and networks such as 10.0.0.0/8. A
// name is trusted itself, not what is below it.
func ParseTrust(hosts ...string) (*Trust, error) {
	t := &Trust{names: make(map[string]bool)}
	for _, h := range hosts {
		if err := t.add(strings.TrimSpace(h)); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func (t *Trust) add(host string) error {
	if inner, ok := strings.CutPrefix(host, "["); ok {
		host = strings.TrimSuffix(inner, "]")
	}
	if p, err := netip.ParsePrefix(host); err == nil {
		t.nets = append(t.nets, p.Masked())
		return nil
	}
	if a, err := netip.ParseAddr(host); err == nil {
		a = a.Unmap().WithZone("")
		t.nets = append(t.nets, netip.PrefixFrom(a, a.BitLen()))
		return nil
	}
	if host == "" || strings.ContainsAny(host, "/:@?# \t*%") {
		return fmt.Errorf("parse host %q: want a name, an address, or a network such as 10.0.0.0/8, without a port", host)
	}
	t.names[canonicalName(host)] = true
	return nil
}

// Host reports whether the user named a host, as a URL writes it.
func (t *Trust) Host(host string) bool {
	if t == nil {
		return false
	}
	if a, err := netip.ParseAddr(canonicalName(host)); err == nil {
		return t.Addr(a)
	}
	return t.names[canonicalName(host)]
}

// Addr reports whether the user named an address, or a network that has it.
func (t *Trust) Addr(a netip.Addr) bool {
	if t == nil {
		return false
	}
	a = a.Unmap().WithZone("")
	for _, p := range t.nets {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// canonicalName is a host's name as it is compared.
func canonicalName(host string) string {
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
