//go:build linux

package network

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"torrentfs/integration/harness"
)

// Two peers behind routers that let nothing in reach each other, because a
// third that both know brings them together (BEP 55): in each of the roles
// libtorrent, too. One of the two never hears of the other but by that.
func TestHolepunchThroughRouters(t *testing.T) {
	t.Parallel()
	harness.Need(t, "iptables")
	for i, tc := range []struct{ name, relay, seed string }{
		{"libtorrent is the target", "torrentfs", "libtorrent"},
		{"libtorrent is the relay", "libtorrent", "torrentfs"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := harness.MakeFile(t, 200_000, uint64(60+i)).Create(t)
			internet := harness.NewSwitch(t)
			middle := harness.NewHost(t)
			middle.Plug(internet, "eth0", "45.66.77.1/24")
			_, ours := harness.Home(t, internet, "45.66.77.10", 1)
			_, theirs := harness.Home(t, internet, "45.66.77.20", 2)
			const relay, target = "45.66.77.1:7000", "45.66.77.20:7002"

			// The relay has nothing, and wants nothing: all data comes from behind the other router.
			var between *harness.Process
			if tc.relay == "torrentfs" {
				between = middle.Mount(c.Torrent, "--no-trackers", "--no-prefetch", "--listen-port", "7000").Process
			} else {
				between = middle.Libtorrent(c.Torrent, harness.Scratch(t), relay, "--utp", "--pex", "--slow").Process
			}
			if tc.seed == "torrentfs" {
				theirs.Seed(c, 7002, "--no-trackers", "--peer", relay)
			} else {
				theirs.Libtorrent(c.Torrent, c.Dir, "192.168.2.2:7002", "--utp", "--peer", relay).Complete()
			}
			// Without the relay there is no way.
			alone := ours.Mount(c.Torrent, "--no-trackers", "--listen-port", "7009", "--peer", target)
			alone.Says("connect to peer: dial", target)
			alone.Stop()

			m := ours.Mount(c.Torrent, "--no-trackers", "--listen-port", "7001", "--peer", relay)
			harness.SameFile(t, c.Root(), m.Path(c.Name))
			m.Complete()
			m.Says("holepunch: ask for a rendezvous", target)
			if tc.relay == "torrentfs" {
				between.Says("holepunch: bring peers together")
			}
			m.Stop()
		})
	}
}

// libtorrent asks for a rendezvous, and we answer the call: its router shows others
// another port than the one that it says it listens on, so that what PEX tells us
// of it leads nowhere.
func TestHolepunchBegunByLibtorrent(t *testing.T) {
	t.Parallel()
	harness.Need(t, "iptables")
	c := harness.MakeFile(t, 200_000, 165).Create(t)
	internet := harness.NewSwitch(t)
	middle := harness.NewHost(t)
	middle.Plug(internet, "eth0", "45.66.77.1/24")
	router, asker := harness.Home(t, internet, "45.66.77.10", 1)
	router.Renumbers(40000)
	_, ours := harness.Home(t, internet, "45.66.77.20", 2)
	const relay = "45.66.77.1:7000"
	between := middle.Mount(c.Torrent, "--no-trackers", "--no-prefetch", "--listen-port", "7000").Process
	ours.Seed(c, 7002, "--no-trackers", "--peer", relay)
	between.Says("status", `"peers":1`)
	data := harness.Scratch(t)
	l := asker.Libtorrent(c.Torrent, data, "192.168.1.2:7001", "--both", "--pex", "--peer", relay, "--connect-timeout", "3")
	l.Complete() // it asks after uTP, and then TCP, timed out
	between.Says("holepunch: bring peers together", `"from":"45.66.77.10:40000"`)
	harness.SameBytes(t, c, data)
}

// A link alone is mounted behind a router that lets nothing in, though the only
// peer that is known has no metadata: it tells of the one that has it (BEP 11),
// and brings us together where that one is behind a router, too (BEP 55).
func TestMagnetThroughRouters(t *testing.T) {
	t.Parallel()
	harness.Need(t, "iptables")
	for i, tc := range []struct {
		name   string
		behind bool // a router, the seed
	}{{"PEX", false}, {"holepunch", true}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := harness.MakeFile(t, 200_000, uint64(160+i)).Create(t)
			internet := harness.NewSwitch(t)
			middle, far := harness.NewHost(t), harness.NewHost(t)
			middle.Plug(internet, "eth0", "45.66.77.1/24")
			router, ours := harness.Home(t, internet, "45.66.77.10", 1)
			router.Renumbers(40000)
			if tc.behind {
				_, far = harness.Home(t, internet, "45.66.77.20", 2)
			} else {
				far.Plug(internet, "eth0", "45.66.77.20/24")
			}
			const teller, target = "45.66.77.1:7000", "45.66.77.20:7002"
			between := middle.Libtorrent(c.Torrent, harness.Scratch(t), teller, "--utp", "--pex", "--slow", "--no-metadata")
			far.Seed(c, 7002, "--no-trackers", "--peer", teller)
			between.Status("connected to the seed", func(r harness.Record) bool { return r.Number("downloaded") > 0 })
			m := ours.Mount(harness.MagnetOf(t, c), "--no-trackers", "--listen-port", "7001", "--peer", teller)
			harness.SameFile(t, c.Root(), m.Path(c.Name))
			m.Complete()
			if tc.behind {
				m.Says("holepunch: ask for a rendezvous", target)
			}
			m.Stop()
		})
	}
}

// miniupnpd runs on the router and lets its LAN map ports, for seconds at a time.
func miniupnpd(t *testing.T, router *harness.Host, flags string) *harness.Process {
	t.Helper()
	harness.Need(t, "miniupnpd", "nft")
	dir := harness.Scratch(t)
	config := filepath.Join(dir, "miniupnpd.conf")
	if err := os.WriteFile(config, []byte(`
ext_ifname=wan
listening_ip=lan
http_port=5000
upnp_table_name=filter
upnp_nat_table_name=filter
min_lifetime=4
max_lifetime=8
system_uptime=yes
uuid=00000000-0000-0000-0000-000000000001
lease_file=`+filepath.Join(dir, "leases")+`
allow 1024-65535 192.168.0.0/16 1024-65535
`+flags), 0o600); err != nil {
		t.Fatal(err)
	}
	// Its rules live in chains of these names, which the router's own jump to.
	router.Sh(`nft -f - <<'.'
		table inet filter {
			chain miniupnpd { }
			chain prerouting_miniupnpd { }
			chain postrouting_miniupnpd { }
			chain forward { type filter hook forward priority 0; policy accept; iifname lan accept; ct state established,related accept; jump miniupnpd; iifname wan drop; }
			chain prerouting { type nat hook prerouting priority -100; jump prerouting_miniupnpd; }
			chain postrouting { type nat hook postrouting priority 100; jump postrouting_miniupnpd; }
		}
.
		iptables -w -F FORWARD
		ip route add 239.0.0.0/8 dev lan`)
	return router.On(harness.Tool("miniupnpd", "-d", "-f", config, "-P", filepath.Join(dir, "pid"))).Start(t)
}

// A real router lets peers in for us: by each protocol the port is mapped, an
// outside peer comes through it, it is renewed, and gone when we are.
func TestPortMappingByMiniupnpd(t *testing.T) {
	t.Parallel()
	for i, tc := range []struct {
		name, flags string
		deaf        string // version that is dropped, of those that share a port
		renews      bool   // within the test: the others have a life of an hour
	}{
		{"UPnP", "enable_natpmp=no\n", "0", false},
		{"NAT-PMP", "enable_natpmp=yes\nenable_upnp=no\n", "2", false},
		{"PCP", "enable_natpmp=yes\nenable_upnp=no\n", "0", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := harness.MakeFile(t, 200_000, uint64(65+i)).Create(t)
			internet := harness.NewSwitch(t)
			outside := harness.NewHost(t)
			outside.Plug(internet, "eth0", "45.66.77.1/24")
			router, ours := harness.Home(t, internet, "45.66.77.10", 1)
			ours.Sh("ip route add 239.0.0.0/8 dev eth0")
			d := miniupnpd(t, router, tc.flags)
			router.Sh("nft 'add chain inet filter deaf { type filter hook input priority 0; }; add rule inet filter deaf udp dport 5351 @th,64,8 " + tc.deaf + " drop'")
			cmd := ours.On(harness.Torrentfs(t, slices.Concat([]string{"seed", c.Torrent, "--data-dir", c.Dir, "--listen-port", "7001", "--no-trackers"}, harness.LogFlags)...))
			cmd.Env = append(cmd.Env, "TORRENTFS_DISABLE_PORTMAP=0")
			s := &harness.Server{Process: cmd.Start(t)}
			mapped := s.Logged("the router lets peers in", func(r harness.Record) bool { return r["protocol"] == "tcp" })
			if mapped["external"] != "45.66.77.10:7001" {
				t.Errorf("mapped to %v", mapped["external"])
			}
			m := outside.Mount(c.Torrent, "--no-trackers", "--peer", mapped["external"].(string))
			harness.SameFile(t, c.Root(), m.Path(c.Name))
			m.Stop()
			rules := func() string { return router.Sh("nft list table inet filter") }
			if !strings.Contains(rules(), "7001") {
				t.Errorf("no rule in the router: %s", rules())
			}
			if tc.renews {
				harness.Eventually(t, "the mappings are made a third time", func() bool { return strings.Count(d.Stderr.Text()+d.Stdout.Text(), "60bytes") >= 3*2 })
			}
			s.Stop()
			harness.Eventually(t, "the router's rules are gone", func() bool { return !strings.Contains(rules(), "7001") })
		})
	}
}
