//go:build linux

package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// ownTracker is `torrentfs tracker`.
type ownTracker struct {
	*process
	http, udp string // announce URLs
}

// startTracker starts our tracker. The short interval is for clients whose
// first announce came before the others'.
func startTracker(t testing.TB) *ownTracker {
	t.Helper()
	return trackerAt(t, here, env.addr)
}

// trackerAt starts one on another host, at an address of it.
func trackerAt(t testing.TB, host func(command) command, addr string) *ownTracker {
	t.Helper()
	any := addr + ":0"
	p := host(torrentfs(t, slices.Concat([]string{
		"tracker", "--listen", any, "--udp", any, "--interval", "5s", "--min-interval", "2s",
	}, logFlags)...)).start(t)
	at := func(network string) string {
		return p.logged("listening", func(r record) bool { return r["network"] == network })["addr"].(string)
	}
	return &ownTracker{process: p, http: "http://" + at("http") + "/announce", udp: "udp://" + at("udp") + "/announce"}
}

// seeders waits until the tracker knows at least n of them.
func (tr *ownTracker) seeders(n int64) {
	tr.t.Helper()
	tr.logged("status", func(r record) bool { return r.number("seeders") >= n })
}

// client is any client in a swarm that is found through a tracker alone.
type client struct {
	name string
	// start starts it; complete waits until it has everything.
	start func(t testing.TB, torrent, data string) (complete func())
}

var clients = []client{
	{"transmission", func(t testing.TB, torrent, data string) func() { return startTransmission(t, torrent, data).complete }},
	{"libtorrent", func(t testing.TB, torrent, data string) func() {
		l := startLibtorrent(t, torrent, data)
		return func() { l.complete() }
	}},
	{"aria2", func(t testing.TB, torrent, data string) func() {
		// Its client for UDP trackers is a part of its DHT node, which finds
		// no other here: no other client has one, and the network is ours.
		return startAria2(t, torrent, data, "--enable-dht=true", "--dht-listen-port", strconv.Itoa(freePort(t))).complete
	}},
	{"torrentfs", func(t testing.TB, torrent, data string) func() {
		p := torrentfs(t, slices.Concat([]string{"download", torrent, "--data-dir", data, "--seed"}, logFlags)...).start(t)
		return func() { p.logged("downloaded", nil) }
	}},
}

// Clients of every kind find each other through our tracker, over HTTP and
// over UDP, whoever of them has the data: they have no other way to.
func TestTrackerIntroduces(t *testing.T) {
	t.Parallel()
	needPrivateNetwork(t)
	for _, scheme := range []string{"http", "udp"} {
		for _, origin := range clients {
			t.Run(scheme+", seed is "+origin.name, func(t *testing.T) {
				t.Parallel()
				tr := startTracker(t)
				c := makeFile(t, 300<<10, 30).create(t, "--tracker", map[string]string{"http": tr.http, "udp": tr.udp}[scheme])
				origin.start(t, c.torrent, c.dir)
				tr.seeders(1)
				checkLeechers(t, c, origin.name)
				last := tr.logged("status", func(r record) bool { return r.number("seeders") >= int64(len(clients)) })
				other := map[string]string{"http": "announces_udp", "udp": "announces_http"}[scheme]
				if n := last.number(other); n != 0 {
					t.Errorf("%d announces came by the other protocol", n)
				}
			})
		}
	}
}

// checkLeechers has all other clients download, at once.
func checkLeechers(t *testing.T, c content, origin string) {
	t.Helper()
	type leecher struct {
		client
		data     string
		complete func()
	}
	var leechers []leecher
	for _, other := range clients {
		if other.name != origin {
			data := scratch(t)
			leechers = append(leechers, leecher{other, data, other.start(t, c.torrent, data)})
		}
	}
	for _, l := range leechers {
		l.complete()
		if out := tool("cmp", c.root(), filepath.Join(l.data, c.name)).start(t); out.wait() != 0 {
			t.Errorf("%s has other bytes", l.name)
		}
	}
}

// opentracker, which public trackers run, brings our clients together.
func TestOpentracker(t *testing.T) {
	t.Parallel()
	need(t, "opentracker")
	port := freePort(t)
	dir := scratch(t)
	if err := os.Chmod(dir, 0o755); err != nil { // it gives up its privileges
		t.Fatal(err)
	}
	c := makeTree(t, 40).create(t)
	hash := c.info(t).Hash.String()
	whitelist := filepath.Join(dir, "whitelist")
	if err := os.WriteFile(whitelist, []byte(hash+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		whitelist = "/whitelist" // it changes its root directory
	}
	config := filepath.Join(dir, "config")
	if err := os.WriteFile(config, []byte("access.whitelist "+whitelist+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	tool("opentracker", "-i", env.addr, "-p", fmt.Sprint(port), "-P", fmt.Sprint(port), "-d", dir, "-f", config).start(t)
	listens(t, port)
	for _, scheme := range []string{"http", "udp"} {
		t.Run(scheme, func(t *testing.T) {
			c := c // the same content, so the same info-hash
			c.torrent = filepath.Join(scratch(t), "t.torrent")
			url := fmt.Sprintf("%s://%s/announce", scheme, hostPort(port))
			torrentfs(t, "create", "-o", c.torrent, "--piece-length", fmt.Sprint(pieceLength), "--tracker", url, c.root()).run(t)
			origin := seed(t, c.torrent, c.dir)
			m := mountTorrent(t, c.torrent)
			sameTree(t, c.root(), m.path(c.name))
			m.stop()
			origin.stop()
			if text := origin.stderr.text(); strings.Contains(text, "announce failed") {
				t.Errorf("announces failed:\n%s", origin.stderr.tail(20))
			}
		})
	}
}
