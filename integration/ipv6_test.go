//go:build linux

package integration

import (
	"net/url"
	"slices"
	"testing"
)

// Where there is no IPv4, everything works over IPv6: trackers and their
// peers6, the DHT, the local network, PEX's added6, uTP, magnet links, the mount.
func TestIPv6Alone(t *testing.T) {
	t.Parallel()
	const network, first, second = "2001:db8::%d/64", "[2001:db8::1]:7000", "[2001:db8::2]:7000"
	seed := func(h *host, c content, env string, flags ...string) {
		cmd := h.on(torrentfs(h.t, slices.Concat([]string{"seed", c.torrent, "--data-dir", c.dir, "--listen-port", "7000"}, logFlags, flags)...))
		cmd.env = append(cmd.env, env)
		cmd.start(h.t).logged("seeding", nil)
	}
	for _, scheme := range []string{"http", "udp"} {
		t.Run("tracker by "+scheme, func(t *testing.T) {
			t.Parallel()
			hosts := segment(t, network, 3)
			announce := scheme + "://" + first + "/announce"
			c := makeFile(t, 200_000, 80).create(t, "--tracker", announce)
			tr := hosts[0].on(torrentfs(t, slices.Concat([]string{"tracker", "--listen", first, "--udp", first, "--interval", "5s", "--min-interval", "2s"}, logFlags)...)).start(t)
			tr.logged("listening", func(r record) bool { return r["network"] == "udp" })
			hosts[1].libtorrent(c.torrent, c.dir, second).complete()
			tr.logged("status", func(r record) bool { return r.number("seeders") > 0 })
			hosts[2].readOn(c, magnetOf(t, c)+"&tr="+url.QueryEscape(announce), "").stop()
		})
	}
	t.Run("DHT", func(t *testing.T) {
		t.Parallel()
		c, other := makeFile(t, 200_000, 81).create(t), makeFile(t, 1000, 82).create(t)
		hosts := segment(t, network, 3)
		node := hosts[0].libtorrent(other.torrent, other.dir, first, "--dht", "none")
		hosts[1].libtorrent(c.torrent, c.dir, second, "--dht", first).complete()
		node.says("incoming dht announce")
		hosts[2].readOn(c, magnetOf(t, c), "TORRENTFS_DISABLE_DHT=0", "--no-trackers", "--dht-bootstrap", first).stop()
	})
	t.Run("local network", func(t *testing.T) {
		t.Parallel()
		c := makeFile(t, 200_000, 83).create(t)
		hosts := segment(t, network, 2)
		seed(hosts[0], c, "TORRENTFS_DISABLE_LSD=0", "--no-trackers")
		hosts[1].readOn(c, magnetOf(t, c), "TORRENTFS_DISABLE_LSD=0", "--no-trackers").stop()
	})
	t.Run("PEX", func(t *testing.T) {
		t.Parallel()
		c := makeFile(t, 200_000, 84).create(t)
		hosts := segment(t, network, 3)
		seed(hosts[0], c, "", "--no-trackers", "--max-upload-rate", "20K/s")
		middle := hosts[1].libtorrent(c.torrent, scratch(t), second, "--pex", "--peer", first)
		middle.status("connected", func(r record) bool { return r.number("peers") > 0 })
		m := hosts[2].mount(c.torrent, "--no-trackers", "--no-prefetch", "--peer", second)
		m.logged("status", func(r record) bool { return r.number("peers") >= 2 })
		m.stop()
	})
	t.Run("uTP", func(t *testing.T) {
		t.Parallel()
		c := makeFile(t, 200_000, 85).create(t)
		hosts := segment(t, network, 2)
		hosts[0].libtorrent(c.torrent, c.dir, first, "--utp").complete()
		hosts[1].readOn(c, magnetOf(t, c), "", "--no-trackers", "--peer", first).stop()
	})
}
