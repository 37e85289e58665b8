//go:build linux

package integration

import "testing"

// readOn mounts on a host and reads everything.
func (h *host) readOn(c content, torrent string, only string, flags ...string) *mount {
	h.t.Helper()
	cmd := h.on(torrentfs(h.t))
	cmd.env = append(cmd.env, only)
	m := startMount(h.t, cmd, torrent, scratch(h.t), mountpoint(h.t), flags...)
	sameFile(h.t, c.root(), m.path(c.name))
	m.complete()
	return m
}

// Peers are found in the local network alone (BEP 14): their clients hear our
// announce, or we theirs.
func TestLocalDiscoveryAlone(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		start func(h *host, c content)
	}{
		{"libtorrent", func(h *host, c content) { h.libtorrent(c.torrent, c.dir, "198.51.100.1:7000", "--lsd").complete() }},
		{"transmission", func(h *host, c content) { h.transmission(c, 7000, map[string]any{"lpd-enabled": true}) }},
		{"aria2", func(h *host, c content) {
			h.aria2(c, 7000, "--enable-dht=false", "--bt-enable-lpd=true", "--bt-lpd-interface=eth0")
		}},
		{"torrentfs", func(h *host, c content) {
			cmd := h.on(torrentfs(h.t, append([]string{"seed", c.torrent, "--data-dir", c.dir, "--no-trackers"}, logFlags...)...))
			cmd.env = append(cmd.env, "TORRENTFS_DISABLE_LSD=0")
			cmd.start(h.t).logged("seeding", nil)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := makeFile(t, 200_000, 70).create(t)
			hosts := segment(t, "198.51.100.%d/24", 2)
			tc.start(hosts[0], c)
			hosts[1].readOn(c, magnetOf(t, c), "TORRENTFS_DISABLE_LSD=0", "--no-trackers").stop()
		})
	}
}

// Peers are found in the DHT alone (BEP 5): one of real nodes, that we enter by
// another node than the seed. Transmission asks none of
// less than nine nodes.
func TestDHTAlone(t *testing.T) {
	t.Parallel()
	const entry = "198.51.100.1:7000"
	for _, tc := range []struct {
		name  string
		start func(h *host, c content)
	}{
		{"libtorrent", func(h *host, c content) {
			h.libtorrent(c.torrent, c.dir, "198.51.100.2:7000", "--dht", entry).complete()
		}},
		{"torrentfs", func(h *host, c content) {
			cmd := h.on(torrentfs(h.t, append([]string{"seed", c.torrent, "--data-dir", c.dir, "--no-trackers", "--dht-bootstrap", entry}, logFlags...)...))
			cmd.env = append(cmd.env, "TORRENTFS_DISABLE_DHT=0")
			cmd.start(h.t).logged("seeding", nil)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c, other := makeFile(t, 200_000, 71).create(t), makeFile(t, 1000, 72).create(t)
			hosts := segment(t, "198.51.100.%d/24", 4)
			node := hosts[0].libtorrent(other.torrent, other.dir, entry, "--dht", "none")
			hosts[3].aria2(other, 7000, "--enable-dht=true", "--dht-listen-port=7000", "--dht-entry-point="+entry)
			tc.start(hosts[1], c)
			node.says("incoming dht announce")
			hosts[2].readOn(c, magnetOf(t, c), "TORRENTFS_DISABLE_DHT=0", "--no-trackers", "--dht-bootstrap", entry).stop()
		})
	}
}

// A client that no TCP connection reaches, and that makes none, is a peer by uTP.
func TestTransmissionByUTPAlone(t *testing.T) {
	t.Parallel()
	need(t, "iptables")
	c := makeFile(t, 200_000, 73).create(t)
	hosts := segment(t, "198.51.100.%d/24", 2)
	hosts[0].sh("for chain in INPUT OUTPUT; do iptables -w -A $chain -p tcp -j REJECT; done")
	hosts[0].transmission(c, 7000, map[string]any{"utp-enabled": true})
	m := hosts[1].readOn(c, magnetOf(t, c), "", "--no-trackers", "--peer", "198.51.100.1:7000")
	m.stop()
}

// Clients that insist on encryption.
func TestEncryptionIsRequired(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		start func(h *host, c content)
	}{
		{"transmission", func(h *host, c content) { h.transmission(c, 7000, map[string]any{"encryption": 2}) }},
		{"aria2", func(h *host, c content) {
			h.aria2(c, 7000, "--enable-dht=false", "--bt-force-encryption=true", "--bt-require-crypto=true", "--bt-min-crypto-level=arc4")
		}},
	} {
		for _, policy := range []string{"prefer", "require"} {
			t.Run(tc.name+", "+policy, func(t *testing.T) {
				t.Parallel()
				c := makeFile(t, 200_000, 74).create(t)
				hosts := segment(t, "198.51.100.%d/24", 2)
				tc.start(hosts[0], c)
				hosts[1].readOn(c, magnetOf(t, c), "", "--no-trackers", "--peer", "198.51.100.1:7000", "--encryption", policy).stop()
			})
		}
	}
}
