//go:build linux

package network

import (
	"net/url"
	"slices"
	"testing"

	"torrentfs/integration/harness"
)

// Where there is no IPv4, everything works over IPv6: trackers and their
// peers6, the DHT, the local network, PEX's added6, uTP, magnet links, the mount.
func TestIPv6Alone(t *testing.T) {
	t.Parallel()
	const network, first, second = "2001:db8::%d/64", "[2001:db8::1]:7000", "[2001:db8::2]:7000"
	seed := func(h *harness.Host, c harness.Content, env string, flags ...string) {
		cmd := h.On(harness.Torrentfs(h.T, slices.Concat([]string{"seed", c.Torrent, "--data-dir", c.Dir, "--listen-port", "7000"}, harness.LogFlags, flags)...))
		cmd.Env = append(cmd.Env, env)
		cmd.Start(h.T).Logged("seeding", nil)
	}
	for _, scheme := range []string{"http", "udp"} {
		t.Run("tracker by "+scheme, func(t *testing.T) {
			t.Parallel()
			hosts := harness.Segment(t, network, 3)
			announce := scheme + "://" + first + "/announce"
			c := harness.MakeFile(t, 200_000, 80).Create(t, "--tracker", announce)
			tr := hosts[0].On(harness.Torrentfs(t, slices.Concat([]string{"tracker", "--listen", first, "--udp", first, "--interval", "5s", "--min-interval", "2s"}, harness.LogFlags)...)).Start(t)
			tr.Logged("listening", func(r harness.Record) bool { return r["network"] == "udp" })
			hosts[1].Libtorrent(c.Torrent, c.Dir, second).Complete()
			tr.Logged("status", func(r harness.Record) bool { return r.Number("seeders") > 0 })
			hosts[2].ReadOn(c, harness.MagnetOf(t, c)+"&tr="+url.QueryEscape(announce), "").Stop()
		})
	}
	t.Run("DHT", func(t *testing.T) {
		t.Parallel()
		c, other := harness.MakeFile(t, 200_000, 81).Create(t), harness.MakeFile(t, 1000, 82).Create(t)
		hosts := harness.Segment(t, network, 3)
		node := hosts[0].Libtorrent(other.Torrent, other.Dir, first, "--dht", "none")
		hosts[1].Libtorrent(c.Torrent, c.Dir, second, "--dht", first).Complete()
		node.Says("incoming dht announce")
		hosts[2].ReadOn(c, harness.MagnetOf(t, c), "TORRENTFS_DISABLE_DHT=0", "--no-trackers", "--dht-bootstrap", first).Stop()
	})
	t.Run("local network", func(t *testing.T) {
		t.Parallel()
		c := harness.MakeFile(t, 200_000, 83).Create(t)
		hosts := harness.Segment(t, network, 2)
		seed(hosts[0], c, "TORRENTFS_DISABLE_LSD=0", "--no-trackers")
		hosts[1].ReadOn(c, harness.MagnetOf(t, c), "TORRENTFS_DISABLE_LSD=0", "--no-trackers").Stop()
	})
	t.Run("PEX", func(t *testing.T) {
		t.Parallel()
		c := harness.MakeFile(t, 200_000, 84).Create(t)
		hosts := harness.Segment(t, network, 3)
		seed(hosts[0], c, "", "--no-trackers", "--max-upload-rate", "20K/s")
		middle := hosts[1].Libtorrent(c.Torrent, harness.Scratch(t), second, "--pex", "--peer", first)
		middle.Status("connected", func(r harness.Record) bool { return r.Number("peers") > 0 })
		m := hosts[2].Mount(c.Torrent, "--no-trackers", "--no-prefetch", "--peer", second)
		m.Logged("status", func(r harness.Record) bool { return r.Number("peers") >= 2 })
		m.Stop()
	})
	t.Run("uTP", func(t *testing.T) {
		t.Parallel()
		c := harness.MakeFile(t, 200_000, 85).Create(t)
		hosts := harness.Segment(t, network, 2)
		hosts[0].Libtorrent(c.Torrent, c.Dir, first, "--utp").Complete()
		hosts[1].ReadOn(c, harness.MagnetOf(t, c), "", "--no-trackers", "--peer", first).Stop()
	})
}
