//go:build linux

package network

import (
	"net/url"
	"slices"
	"syscall"
	"testing"

	"torrentfs/integration/harness"
)

// Where there is no network at the start, the program says so, waits for one,
// and goes on by itself when it is there, by whatever way to peers it has.
func TestNetworkComesLate(t *testing.T) {
	t.Parallel()
	const first, entry, second = "198.51.100.1:6969", "198.51.100.1:7000", "198.51.100.2:7000"
	for _, tc := range []struct {
		name, variable string
		tracker        string // scheme; "": none
		flags, theirs  []string
	}{
		{"HTTP tracker", "", "http", nil, nil},
		{"UDP tracker", "", "udp", nil, nil},
		{"DHT", "TORRENTFS_DISABLE_DHT=0", "", []string{"--dht-bootstrap", entry}, []string{"--dht", entry}},
		{"local network", "TORRENTFS_DISABLE_LSD=0", "", nil, []string{"--lsd"}},
		{"peer", "", "", []string{"--peer", second}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := harness.NewSwitch(t)
			there, here := harness.NewHost(t), harness.NewHost(t)
			there.Plug(s, "eth0", "198.51.100.1/24", "198.51.100.2/24")
			there.Sh("ip route add default dev eth0")
			c := harness.MakeFile(t, 200_000, 90).Create(t)
			link := harness.MagnetOf(t, c)
			if tc.tracker != "" {
				announce := tc.tracker + "://" + first + "/announce"
				link += "&tr=" + url.QueryEscape(announce)
				c = c.Create(t, "--tracker", announce)
				there.StartTracker(first)
			}
			announced := func() {}
			if slices.Contains(tc.theirs, entry) {
				other := harness.MakeFile(t, 1000, 94).Create(t)
				node := there.Libtorrent(other.Torrent, other.Dir, entry, "--dht", "none")
				announced = func() { node.Says("incoming dht announce") }
			}
			there.Libtorrent(c.Torrent, c.Dir, second, tc.theirs...).Complete()
			announced()
			m := here.StartLink(link, tc.variable, tc.flags...)
			m.Says("there is no network: waiting for one")
			m.Says("waiting for metadata")
			here.Plug(s, "eth0", "198.51.100.9/24")
			here.Sh("ip route add default dev eth0")
			m.Logged("the network has changed", nil)
			m.Logged("mounted", nil)
			harness.SameFile(t, c.Root(), m.Path(c.Name))
			m.Stop()
		})
	}
}

// A computer that loses its network while a file is read, and finds itself in
// another one with another address, goes on reading: over TCP and over uTP, at the
// same peer. In between the read waits, and says for what.
func TestNetworkMoves(t *testing.T) {
	t.Parallel()
	for _, flag := range []string{"--both", "--utp"} {
		t.Run(flag, func(t *testing.T) {
			t.Parallel()
			first, second, far := harness.NewSwitch(t), harness.NewSwitch(t), harness.NewSwitch(t)
			between, there, here := harness.NewHost(t), harness.NewHost(t), harness.NewHost(t)
			between.Plug(first, "eth1", "198.51.100.1/24")
			between.Plug(second, "eth2", "203.0.113.1/24")
			between.Plug(far, "eth3", "192.0.2.1/24")
			between.Sh("echo 1 > /proc/sys/net/ipv4/ip_forward")
			there.Plug(far, "eth0", "192.0.2.2/24")
			there.Sh("ip route add default via 192.0.2.1")
			here.Plug(first, "eth0", "198.51.100.2/24")
			here.Sh("ip route add default via 198.51.100.1")
			c := harness.MakeFile(t, 1<<20, 91).Create(t)
			there.Libtorrent(c.Torrent, c.Dir, "192.0.2.2:7000", flag).Complete()
			m := here.Mount(c.Torrent, "--no-trackers", "--no-prefetch", "--peer", "192.0.2.2:7000")
			harness.ReadRange(t, c.Root(), m.Path(c.Name), 0, 1000)

			here.Sh("ip link del eth0")
			m.Logged("there is no network: waiting for one", nil)
			rest := harness.Tool("cmp", c.Root(), m.Path(c.Name)).Start(t)
			harness.Eventually(t, "the file says what it waits for", func() bool {
				return harness.Tool("getfattr", "--only-values", "-n", "user.torrent.waiting", m.Path(c.Name)).Start(t).Wait() == 0
			})
			here.Plug(second, "eth0", "203.0.113.2/24")
			here.Sh("ip route add default via 203.0.113.1")
			rest.Succeed()
			m.Stop()
		})
	}
}

// A tracker that is dead is asked again, and a link that nobody knows is waited
// for: both go on when there is somebody.
func TestDeadTrackerAndDeadLink(t *testing.T) {
	t.Parallel()
	const addr = "198.51.100.1:6969"
	hosts := harness.Segment(t, "198.51.100.%d/24", 3)
	announce := "http://" + addr + "/announce"
	c := harness.MakeFile(t, 200_000, 92).Create(t, "--tracker", announce)
	m := hosts[2].StartLink(harness.MagnetOf(t, c)+"&tr="+url.QueryEscape(announce), "")
	m.Says("waiting for metadata", "1 tracker, which does not answer", `"trouble":"announce to `+"http://"+addr)
	tr := hosts[0].StartTracker(addr)
	tr.Logged("status", func(r harness.Record) bool { return r.Number("leechers") > 0 }) // the link is dead, and asked for
	hosts[1].Libtorrent(c.Torrent, c.Dir, "198.51.100.2:7000").Complete()
	m.Logged("mounted", nil)
	harness.SameFile(t, c.Root(), m.Path(c.Name))
	m.Stop()

	// One that nobody ever has ends when it is told to.
	dead := hosts[2].StartLink("magnet:?xt=urn:btih:0123456789012345678901234567890123456789&tr="+url.QueryEscape(announce), "")
	dead.Says("waiting for metadata", `"known":0`, "1 tracker, which answers")
	dead.Signal(syscall.SIGINT)
	if code := dead.Wait(); code == 0 {
		t.Error("a link that was never mounted ends as if it had been")
	}
}

// The router's mapping follows a computer that moves to another home.
func TestPortMappingMoves(t *testing.T) {
	t.Parallel()
	internet := harness.NewSwitch(t)
	c := harness.MakeFile(t, 200_000, 93).Create(t)
	first, ours := harness.Home(t, internet, "45.66.77.10", 1)
	second, other := harness.Home(t, internet, "45.66.77.20", 2)
	for _, r := range []*harness.Host{first, second} {
		miniupnpd(t, r, "enable_natpmp=yes\nenable_upnp=no\n")
	}
	cmd := ours.On(harness.Torrentfs(t, slices.Concat([]string{"seed", c.Torrent, "--data-dir", c.Dir, "--listen-port", "7001", "--no-trackers"}, harness.LogFlags)...))
	cmd.Env = append(cmd.Env, "TORRENTFS_DISABLE_PORTMAP=0")
	s := &harness.Server{Process: cmd.Start(t)}
	for _, external := range []string{"45.66.77.10:7001", "45.66.77.20:7001"} {
		s.Logged("the router lets peers in", func(r harness.Record) bool { return r["protocol"] == "tcp" && r["external"] == external })
		if external == "45.66.77.10:7001" { // the cable goes to the other router
			ours.Sh("ip link del eth0")
			other.Sh("ip link set eth0 netns " + ours.PID)
			ours.Sh("ip link set eth0 up; ip address add 192.168.2.2/24 dev eth0; ip route add default via 192.168.2.1")
		}
	}
	s.Stop()
}
