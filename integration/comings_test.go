//go:build linux

package integration

import (
	"net/url"
	"slices"
	"syscall"
	"testing"
)

// startLink begins to mount a link whose metadata nobody may have yet.
func (h *host) startLink(link, variable string, flags ...string) *mount {
	h.t.Helper()
	dir := mountpoint(h.t)
	cmd := h.on(torrentfs(h.t, slices.Concat([]string{"mount", link, dir, "--data-dir", scratch(h.t)}, logFlags, flags)...))
	cmd.env = append(cmd.env, variable)
	m := &mount{server: &server{process: cmd.start(h.t)}, dir: dir}
	h.t.Cleanup(m.cleanUp)
	return m
}

// tracker runs our tracker on a host, at an address.
func (h *host) tracker(addr string) *process {
	h.t.Helper()
	tr := h.on(torrentfs(h.t, slices.Concat([]string{
		"tracker", "--listen", addr, "--udp", addr, "--interval", "5s", "--min-interval", "2s",
	}, logFlags)...)).start(h.t)
	tr.logged("listening", func(r record) bool { return r["network"] == "udp" })
	return tr
}

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
			s := newSwitch(t)
			there, here := newHost(t), newHost(t)
			there.plug(s, "eth0", "198.51.100.1/24", "198.51.100.2/24")
			there.sh("ip route add default dev eth0")
			c := makeFile(t, 200_000, 90).create(t)
			link := magnetOf(t, c)
			if tc.tracker != "" {
				announce := tc.tracker + "://" + first + "/announce"
				link += "&tr=" + url.QueryEscape(announce)
				c = c.create(t, "--tracker", announce)
				there.tracker(first)
			}
			announced := func() {}
			if slices.Contains(tc.theirs, entry) {
				other := makeFile(t, 1000, 94).create(t)
				node := there.libtorrent(other.torrent, other.dir, entry, "--dht", "none")
				announced = func() { node.says("incoming dht announce") }
			}
			there.libtorrent(c.torrent, c.dir, second, tc.theirs...).complete()
			announced()
			m := here.startLink(link, tc.variable, tc.flags...)
			m.says("there is no network: waiting for one")
			m.says("waiting for metadata")
			here.plug(s, "eth0", "198.51.100.9/24")
			here.sh("ip route add default dev eth0")
			m.logged("the network has changed", nil)
			m.logged("mounted", nil)
			sameFile(t, c.root(), m.path(c.name))
			m.stop()
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
			first, second, far := newSwitch(t), newSwitch(t), newSwitch(t)
			between, there, here := newHost(t), newHost(t), newHost(t)
			between.plug(first, "eth1", "198.51.100.1/24")
			between.plug(second, "eth2", "203.0.113.1/24")
			between.plug(far, "eth3", "192.0.2.1/24")
			between.sh("echo 1 > /proc/sys/net/ipv4/ip_forward")
			there.plug(far, "eth0", "192.0.2.2/24")
			there.sh("ip route add default via 192.0.2.1")
			here.plug(first, "eth0", "198.51.100.2/24")
			here.sh("ip route add default via 198.51.100.1")
			c := makeFile(t, 1<<20, 91).create(t)
			there.libtorrent(c.torrent, c.dir, "192.0.2.2:7000", flag).complete()
			m := here.mount(c.torrent, "--no-trackers", "--no-prefetch", "--peer", "192.0.2.2:7000")
			readRange(t, c.root(), m.path(c.name), 0, 1000)

			here.sh("ip link del eth0")
			m.logged("there is no network: waiting for one", nil)
			rest := tool("cmp", c.root(), m.path(c.name)).start(t)
			eventually(t, "the file says what it waits for", func() bool {
				return tool("getfattr", "--only-values", "-n", "user.torrent.waiting", m.path(c.name)).start(t).wait() == 0
			})
			here.plug(second, "eth0", "203.0.113.2/24")
			here.sh("ip route add default via 203.0.113.1")
			rest.succeed()
			m.stop()
		})
	}
}

// A tracker that is dead is asked again, and a link that nobody knows is waited
// for: both go on when there is somebody.
func TestDeadTrackerAndDeadLink(t *testing.T) {
	t.Parallel()
	const addr = "198.51.100.1:6969"
	hosts := segment(t, "198.51.100.%d/24", 3)
	announce := "http://" + addr + "/announce"
	c := makeFile(t, 200_000, 92).create(t, "--tracker", announce)
	m := hosts[2].startLink(magnetOf(t, c)+"&tr="+url.QueryEscape(announce), "")
	m.says("waiting for metadata", "1 tracker, which does not answer", `"trouble":"announce to `+"http://"+addr)
	tr := hosts[0].tracker(addr)
	tr.logged("status", func(r record) bool { return r.number("leechers") > 0 }) // the link is dead, and asked for
	hosts[1].libtorrent(c.torrent, c.dir, "198.51.100.2:7000").complete()
	m.logged("mounted", nil)
	sameFile(t, c.root(), m.path(c.name))
	m.stop()

	// One that nobody ever has ends when it is told to.
	dead := hosts[2].startLink("magnet:?xt=urn:btih:0123456789012345678901234567890123456789&tr="+url.QueryEscape(announce), "")
	dead.says("waiting for metadata", `"known":0`, "1 tracker, which answers")
	dead.signal(syscall.SIGINT)
	if code := dead.wait(); code == 0 {
		t.Error("a link that was never mounted ends as if it had been")
	}
}

// The router's mapping follows a computer that moves to another home.
func TestPortMappingMoves(t *testing.T) {
	t.Parallel()
	internet := newSwitch(t)
	c := makeFile(t, 200_000, 93).create(t)
	first, ours := home(t, internet, "45.66.77.10", 1)
	second, other := home(t, internet, "45.66.77.20", 2)
	for _, r := range []*host{first, second} {
		miniupnpd(t, r, "enable_natpmp=yes\nenable_upnp=no\n")
	}
	cmd := ours.on(torrentfs(t, slices.Concat([]string{"seed", c.torrent, "--data-dir", c.dir, "--listen-port", "7001", "--no-trackers"}, logFlags)...))
	cmd.env = append(cmd.env, "TORRENTFS_DISABLE_PORTMAP=0")
	s := &server{process: cmd.start(t)}
	for _, external := range []string{"45.66.77.10:7001", "45.66.77.20:7001"} {
		s.logged("the router lets peers in", func(r record) bool { return r["protocol"] == "tcp" && r["external"] == external })
		if external == "45.66.77.10:7001" { // the cable goes to the other router
			ours.sh("ip link del eth0")
			other.sh("ip link set eth0 netns " + ours.pid)
			ours.sh("ip link set eth0 up; ip address add 192.168.2.2/24 dev eth0; ip route add default via 192.168.2.1")
		}
	}
	s.stop()
}
