//go:build linux

package network

import (
	"testing"

	"torrentfs/integration/harness"
)

// A computer with several addresses answers from the one that was asked, though
// the route has another: by uTP alone, to us and to libtorrent.
func TestSecondAddress(t *testing.T) {
	t.Parallel()
	harness.Need(t, "iptables", "ip6tables")
	for i, tc := range []struct {
		name, second string
		oneInterface bool
	}{
		{"one interface, IPv4", "198.51.100.101", true},
		{"one interface, IPv6", "[2001:db8:a::101]", true},
		{"two interfaces, IPv4", "203.0.113.1", false},
		{"two interfaces, IPv6", "[2001:db8:b::1]", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			seeder, peer := severalAddresses(t, tc.oneInterface)
			c := harness.MakeFile(t, 200_000, uint64(95+i)).Create(t)
			seeder.Seed(c, 7000, "--no-trackers")
			data := harness.Scratch(t)
			own := "198.51.100.2:7001"
			if tc.second[0] == '[' {
				own = "[2001:db8:a::2]:7001"
			}
			l := peer.Libtorrent(c.Torrent, data, own, "--utp", "--peer", tc.second+":7000")
			peer.ReadOn(c, harness.MagnetOf(t, c), "", "--no-trackers", "--peer", tc.second+":7000").Stop()
			l.Complete()
			harness.SameBytes(t, c, data)
		})
	}
}

// severalAddresses makes a computer that has a second address, on the same
// interface or on another one whose packets come by way of a router and whose
// answers do not, and a peer. The first takes no TCP.
func severalAddresses(t *testing.T, oneInterface bool) (several, peer *harness.Host) {
	t.Helper()
	first, second := harness.NewSwitch(t), harness.NewSwitch(t)
	several, peer = harness.NewHost(t), harness.NewHost(t)
	several.Plug(first, "eth0", "198.51.100.1/24", "2001:db8:a::1/64")
	peer.Plug(first, "eth0", "198.51.100.2/24", "2001:db8:a::2/64")
	for _, iptables := range []string{"iptables", "ip6tables"} {
		several.Sh(iptables + " -w -A INPUT -p tcp -j REJECT")
	}
	if oneInterface {
		several.Sh("ip address add 198.51.100.101/24 dev eth0; ip address add 2001:db8:a::101/64 dev eth0 nodad preferred_lft 0")
		return several, peer
	}
	several.Plug(second, "eth1", "203.0.113.1/24", "2001:db8:b::1/64")
	several.Sh("for f in all eth0 eth1; do echo 0 > /proc/sys/net/ipv4/conf/$f/rp_filter; done")
	router := harness.NewHost(t)
	router.Plug(first, "eth0", "198.51.100.3/24", "2001:db8:a::3/64")
	router.Plug(second, "eth1", "203.0.113.3/24", "2001:db8:b::3/64")
	router.Sh("echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding")
	peer.Sh("ip route add 203.0.113.0/24 via 198.51.100.3; ip -6 route add 2001:db8:b::/64 via 2001:db8:a::3")
	return several, peer
}
