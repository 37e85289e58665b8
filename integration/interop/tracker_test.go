//go:build linux

package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"torrentfs/integration/harness"
)

// ownTracker is `torrentfs tracker`.
type ownTracker struct {
	*harness.Process
	http, udp string // announce URLs
}

// startTracker starts our tracker. The short interval is for clients whose
// first announce came before the others'.
func startTracker(t testing.TB) *ownTracker {
	t.Helper()
	return trackerAt(t, harness.Here, harness.Env.Addr)
}

// trackerAt starts one on another host, at an address of it.
func trackerAt(t testing.TB, host func(harness.Command) harness.Command, addr string) *ownTracker {
	t.Helper()
	any := addr + ":0"
	p := host(harness.Torrentfs(t, slices.Concat([]string{
		"tracker", "--listen", any, "--udp", any, "--interval", "5s", "--min-interval", "2s",
	}, harness.LogFlags)...)).Start(t)
	at := func(network string) string {
		return p.Logged("listening", func(r harness.Record) bool { return r["network"] == network })["addr"].(string)
	}
	return &ownTracker{Process: p, http: "http://" + at("http") + "/announce", udp: "udp://" + at("udp") + "/announce"}
}

// seeders waits until the tracker knows at least n of them.
func (tr *ownTracker) seeders(n int64) {
	tr.T.Helper()
	tr.Logged("status", func(r harness.Record) bool { return r.Number("seeders") >= n })
}

// client is any client in a swarm that is found through a tracker alone.
type client struct {
	name string
	// start starts it; complete waits until it has everything.
	start func(t testing.TB, torrent, data string) (complete func())
}

var clients = []client{
	{"transmission", func(t testing.TB, torrent, data string) func() {
		return harness.StartTransmission(t, torrent, data).Complete
	}},
	{"libtorrent", func(t testing.TB, torrent, data string) func() {
		l := harness.StartLibtorrent(t, torrent, data)
		return func() { l.Complete() }
	}},
	{"aria2", func(t testing.TB, torrent, data string) func() {
		// Its client for UDP trackers is a part of its DHT node, which finds
		// no other here: no other client has one, and the network is ours.
		return harness.StartAria2(t, torrent, data, "--enable-dht=true", "--dht-listen-port", strconv.Itoa(harness.FreePort(t))).Complete
	}},
	{"torrentfs", func(t testing.TB, torrent, data string) func() {
		p := harness.Torrentfs(t, slices.Concat([]string{"download", torrent, "--data-dir", data, "--seed"}, harness.LogFlags)...).Start(t)
		return func() { p.Logged("downloaded", nil) }
	}},
}

// Clients of every kind find each other through our tracker, over HTTP and
// over UDP, whoever of them has the data: they have no other way to.
func TestTrackerIntroduces(t *testing.T) {
	t.Parallel()
	harness.NeedPrivateNetwork(t)
	for _, scheme := range []string{"http", "udp"} {
		for _, origin := range clients {
			t.Run(scheme+", seed is "+origin.name, func(t *testing.T) {
				t.Parallel()
				tr := startTracker(t)
				c := harness.MakeFile(t, 300<<10, 30).Create(t, "--tracker", map[string]string{"http": tr.http, "udp": tr.udp}[scheme])
				origin.start(t, c.Torrent, c.Dir)
				tr.seeders(1)
				checkLeechers(t, c, origin.name)
				last := tr.Logged("status", func(r harness.Record) bool { return r.Number("seeders") >= int64(len(clients)) })
				other := map[string]string{"http": "announces_udp", "udp": "announces_http"}[scheme]
				if n := last.Number(other); n != 0 {
					t.Errorf("%d announces came by the other protocol", n)
				}
			})
		}
	}
}

// checkLeechers has all other clients download, at once.
func checkLeechers(t *testing.T, c harness.Content, origin string) {
	t.Helper()
	type leecher struct {
		client
		data     string
		complete func()
	}
	var leechers []leecher
	for _, other := range clients {
		if other.name != origin {
			data := harness.Scratch(t)
			leechers = append(leechers, leecher{other, data, other.start(t, c.Torrent, data)})
		}
	}
	for _, l := range leechers {
		l.complete()
		if out := harness.Tool("cmp", c.Root(), filepath.Join(l.data, c.Name)).Start(t); out.Wait() != 0 {
			t.Errorf("%s has other bytes", l.name)
		}
	}
}

// opentracker, which public trackers run, brings our clients together.
func TestOpentracker(t *testing.T) {
	t.Parallel()
	harness.Need(t, "opentracker")
	port := harness.FreePort(t)
	dir := harness.Scratch(t)
	if err := os.Chmod(dir, 0o755); err != nil { // it gives up its privileges
		t.Fatal(err)
	}
	c := harness.MakeTree(t, 40).Create(t)
	hash := c.Info(t).Hash.String()
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
	harness.Tool("opentracker", "-i", harness.Env.Addr, "-p", fmt.Sprint(port), "-P", fmt.Sprint(port), "-d", dir, "-f", config).Start(t)
	harness.Listens(t, port)
	for _, scheme := range []string{"http", "udp"} {
		t.Run(scheme, func(t *testing.T) {
			c := c // the same content, so the same info-hash
			c.Torrent = filepath.Join(harness.Scratch(t), "t.torrent")
			url := fmt.Sprintf("%s://%s/announce", scheme, harness.HostPort(port))
			harness.Torrentfs(t, "create", "-o", c.Torrent, "--piece-length", fmt.Sprint(harness.PieceLength), "--tracker", url, c.Root()).Run(t)
			origin := harness.Seed(t, c.Torrent, c.Dir)
			m := harness.MountTorrent(t, c.Torrent)
			harness.SameTree(t, c.Root(), m.Path(c.Name))
			m.Stop()
			origin.Stop()
			if text := origin.Stderr.Text(); strings.Contains(text, "announce failed") {
				t.Errorf("announces failed:\n%s", origin.Stderr.Tail(20))
			}
		})
	}
}
