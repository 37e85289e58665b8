//go:build linux

package network

import (
	"testing"

	"torrentfs/integration/harness"
)

// Peers are found in the local network alone (BEP 14): their clients hear our
// announce, or we theirs.
func TestLocalDiscoveryAlone(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		start func(h *harness.Host, c harness.Content)
	}{
		{"libtorrent", func(h *harness.Host, c harness.Content) {
			h.Libtorrent(c.Torrent, c.Dir, "198.51.100.1:7000", "--lsd").Complete()
		}},
		{"transmission", func(h *harness.Host, c harness.Content) { h.Transmission(c, 7000, map[string]any{"lpd-enabled": true}) }},
		{"aria2", func(h *harness.Host, c harness.Content) {
			h.Aria2(c, 7000, "--enable-dht=false", "--bt-enable-lpd=true", "--bt-lpd-interface=eth0")
		}},
		{"torrentfs", func(h *harness.Host, c harness.Content) {
			cmd := h.On(harness.Torrentfs(h.T, append([]string{"seed", c.Torrent, "--data-dir", c.Dir, "--no-trackers"}, harness.LogFlags...)...))
			cmd.Env = append(cmd.Env, "TORRENTFS_DISABLE_LSD=0")
			cmd.Start(h.T).Logged("seeding", nil)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := harness.MakeFile(t, 200_000, 70).Create(t)
			hosts := harness.Segment(t, "198.51.100.%d/24", 2)
			tc.start(hosts[0], c)
			hosts[1].ReadOn(c, harness.MagnetOf(t, c), "TORRENTFS_DISABLE_LSD=0", "--no-trackers").Stop()
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
		start func(h *harness.Host, c harness.Content)
	}{
		{"libtorrent", func(h *harness.Host, c harness.Content) {
			h.Libtorrent(c.Torrent, c.Dir, "198.51.100.2:7000", "--dht", entry).Complete()
		}},
		{"torrentfs", func(h *harness.Host, c harness.Content) {
			cmd := h.On(harness.Torrentfs(h.T, append([]string{"seed", c.Torrent, "--data-dir", c.Dir, "--no-trackers", "--dht-bootstrap", entry}, harness.LogFlags...)...))
			cmd.Env = append(cmd.Env, "TORRENTFS_DISABLE_DHT=0")
			cmd.Start(h.T).Logged("seeding", nil)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c, other := harness.MakeFile(t, 200_000, 71).Create(t), harness.MakeFile(t, 1000, 72).Create(t)
			hosts := harness.Segment(t, "198.51.100.%d/24", 4)
			node := hosts[0].Libtorrent(other.Torrent, other.Dir, entry, "--dht", "none")
			hosts[3].Aria2(other, 7000, "--enable-dht=true", "--dht-listen-port=7000", "--dht-entry-point="+entry)
			tc.start(hosts[1], c)
			node.Says("incoming dht announce")
			hosts[2].ReadOn(c, harness.MagnetOf(t, c), "TORRENTFS_DISABLE_DHT=0", "--no-trackers", "--dht-bootstrap", entry).Stop()
		})
	}
}

// A client that no TCP connection reaches, and that makes none, is a peer by uTP.
func TestTransmissionByUTPAlone(t *testing.T) {
	t.Parallel()
	harness.Need(t, "iptables")
	c := harness.MakeFile(t, 200_000, 73).Create(t)
	hosts := harness.Segment(t, "198.51.100.%d/24", 2)
	hosts[0].Sh("for chain in INPUT OUTPUT; do iptables -w -A $chain -p tcp -j REJECT; done")
	hosts[0].Transmission(c, 7000, map[string]any{"utp-enabled": true})
	m := hosts[1].ReadOn(c, harness.MagnetOf(t, c), "", "--no-trackers", "--peer", "198.51.100.1:7000")
	m.Stop()
}

// Clients that insist on encryption.
func TestEncryptionIsRequired(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		start func(h *harness.Host, c harness.Content)
	}{
		{"transmission", func(h *harness.Host, c harness.Content) { h.Transmission(c, 7000, map[string]any{"encryption": 2}) }},
		{"aria2", func(h *harness.Host, c harness.Content) {
			h.Aria2(c, 7000, "--enable-dht=false", "--bt-force-encryption=true", "--bt-require-crypto=true", "--bt-min-crypto-level=arc4")
		}},
	} {
		for _, policy := range []string{"prefer", "require"} {
			t.Run(tc.name+", "+policy, func(t *testing.T) {
				t.Parallel()
				c := harness.MakeFile(t, 200_000, 74).Create(t)
				hosts := harness.Segment(t, "198.51.100.%d/24", 2)
				tc.start(hosts[0], c)
				hosts[1].ReadOn(c, harness.MagnetOf(t, c), "", "--no-trackers", "--peer", "198.51.100.1:7000", "--encryption", policy).Stop()
			})
		}
	}
}
