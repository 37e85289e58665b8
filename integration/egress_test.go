//go:build linux

package integration

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"torrentfs/internal/fakeproxy"
)

// everything turns on all that could find a way beside.
var everything = []string{"TORRENTFS_DISABLE_DHT=0", "TORRENTFS_DISABLE_LSD=0", "TORRENTFS_DISABLE_PORTMAP=0"}

// mountOn mounts the world's magnet link on the host, with all ways to peers on.
func (w *world) mountOn(h *host, vars []string, flags ...string) *mount {
	h.t.Helper()
	cmd := h.on(torrentfs(h.t))
	cmd.env = slices.Concat(cmd.env, everything, vars)
	flags = append(flags, "--dht-bootstrap", "dht.example.org:6881", "--blocklist", "http://list.example.org:"+webPort+"/list")
	return startMount(h.t, cmd, w.magnet, scratch(h.t), mountpoint(h.t), flags...)
}

const (
	proxyAddr = "45.66.77.2"
	proxyPort = "1080"
)

// behindProxy makes a world, a host for a proxy, and one for a client, which has
// a way to all of them, and counts what is not for the proxy.
func behindProxy(t *testing.T, seed uint64) (w *world, proxy, client *host) {
	t.Helper()
	need(t, "nft")
	internet := newSwitch(t)
	w = newWorld(t, seed, map[string]*host{"45.66.77.1/24": internet})
	proxy, client = newHost(t), newHost(t)
	proxy.plug(internet, "eth0", proxyAddr+"/24")
	proxy.sh("ip route add default via 45.66.77.1")
	client.plug(internet, "eth0", "45.66.77.10/24", "2001:db8:77::10/64")
	client.sh("ip route add default via 45.66.77.1; ip -6 route add default dev eth0")
	client.watch("eth0", proxyAddr, proxyPort)
	return w, proxy, client
}

// Whatever a torrent names is reached through the proxy, and not one packet goes
// beside it: no name is asked for, nothing listens, nobody is looked for.
func TestNothingBesideTheProxy(t *testing.T) {
	t.Parallel()
	type running struct {
		targets func() []string
		relays  bool // datagrams as well
	}
	for i, tc := range []struct {
		name, url string
		start     func(t *testing.T, h *host) running
	}{
		{"SOCKS5", "socks5://user:secret@", func(_ *testing.T, h *host) running {
			return running{targets: h.proxy(proxyAddr+":"+proxyPort, fakeproxy.Config{User: "user", Password: "secret"}).Targets}
		}},
		{"HTTP", "http://user:secret@", func(_ *testing.T, h *host) running {
			return running{targets: h.proxy(proxyAddr+":"+proxyPort, fakeproxy.Config{HTTP: true, User: "user", Password: "secret"}).Targets}
		}},
		{"microsocks", "socks5://user:secret@", func(t *testing.T, h *host) running {
			need(t, "microsocks")
			h.on(tool("microsocks", "-i", proxyAddr, "-p", proxyPort, "-u", "user", "-P", "secret")).start(t)
			h.listens(1080)
			return running{}
		}},
		{"danted", "socks5://", func(_ *testing.T, h *host) running {
			h.danted(proxyAddr, proxyPort)
			return running{relays: true}
		}},
		{"tinyproxy", "http://user:secret@", func(t *testing.T, h *host) running {
			need(t, "tinyproxy")
			config := filepath.Join(scratch(t), "tinyproxy.conf")
			text := "Port " + proxyPort + "\nListen " + proxyAddr + "\nTimeout 60\nMaxClients 200\nBasicAuth user secret\n"
			if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			h.on(tool("tinyproxy", "-d", "-c", config)).start(t)
			h.listens(1080)
			return running{}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w, proxy, client := behindProxy(t, uint64(80+i))
			p := tc.start(t, proxy)
			m := w.mountOn(client, []string{"TORRENTFS_PROXY=" + tc.url + proxyAddr + ":" + proxyPort})
			sameFile(t, w.c.root(), m.path(w.c.name))
			m.complete()
			info := client.on(torrentfs(t, "info", "http://torrent.example.org:"+webPort+"/a.torrent"))
			info.env = append(info.env, "TORRENTFS_PROXY="+tc.url+proxyAddr+":"+proxyPort)
			if text := info.run(t); !strings.Contains(text, w.c.name) {
				t.Errorf("fetched %s", text)
			}
			if last := m.stop(); last.number("downloaded") < 3_000_000 {
				t.Errorf("downloaded %d bytes", last.number("downloaded"))
			}
			client.nothingBeside()
			counts := client.counted()
			if counts["allowed"] == 0 {
				t.Error("nothing went to the proxy: the counters count nothing")
			}
			if p.relays != (counts["relayed"] > 0) {
				t.Errorf("%d datagrams went to the proxy", counts["relayed"])
			}
			m.logged(map[bool]string{
				true:  "all goes through the proxy, UDP as well: there are no incoming peers, no local discovery and port mapping",
				false: "all goes through the proxy: there are no incoming peers, no local discovery and port mapping, and, as it relays no UDP, no uTP, DHT and UDP trackers",
			}[p.relays], nil)
			if p.targets != nil {
				asked := strings.Join(p.targets(), " ")
				for _, want := range []string{"tracker.example.org:" + trackerPort, "web.example.org:" + webPort, "list.example.org:" + webPort, "torrent.example.org:" + webPort, worldPeer} {
					if !strings.Contains(asked, want) {
						t.Errorf("the proxy was never asked for %s, but for %s", want, asked)
					}
				}
			}
			if text := m.stderr.text(); strings.Contains(text, "secret") {
				t.Error("the log shows the password")
			}
		})
	}
	// The same without a proxy shows that the test can fail.
	t.Run("without", func(t *testing.T) {
		t.Parallel()
		w, _, client := behindProxy(t, 89)
		m := w.mountOn(client, nil)
		sameFile(t, w.c.root(), m.path(w.c.name))
		m.stop()
		counts := client.counted()
		for _, kind := range []string{"names", "datagrams", "streams"} {
			if counts[kind] == 0 {
				t.Errorf("no packet of kind %s was counted: %v", kind, counts)
			}
		}
	})
}

// By UDP alone through a real proxy: a peer that takes no TCP, a tracker and a node
// of the DHT, of which the proxy alone knows where they are.
func TestUDPThroughTheProxy(t *testing.T) {
	t.Parallel()
	for i, tc := range []struct {
		name   string
		magnet string // what is appended to the link
		flags  []string
		vars   []string
	}{
		{"uTP", "", []string{"--no-trackers", "--peer", worldPeer}, nil},
		{"tracker", "&tr=udp://tracker.example.org:" + trackerPort, nil, nil},
		{"DHT", "", []string{"--no-trackers", "--dht-bootstrap", "dht.example.org:7003"}, []string{"TORRENTFS_DISABLE_DHT=0"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			need(t, "iptables")
			w, proxy, client := behindProxy(t, uint64(92+i))
			w.sh("iptables -w -A INPUT -p tcp --dport 7000 -j REJECT --reject-with tcp-reset") // of peers
			if tc.vars != nil {
				other := makeFile(t, 1000, 95).create(t)
				node := w.on(torrentfs(t, slices.Concat([]string{
					"seed", other.torrent, "--data-dir", other.dir, "--listen-port", "7003", "--no-trackers", "--dht-bootstrap", "45.66.77.1:7004",
				}, logFlags)...))
				node.env = append(node.env, "TORRENTFS_DISABLE_DHT=0")
				node.start(t).logged("seeding", nil)
				w.libtorrent(w.c.torrent, w.c.dir, "45.66.77.1:7004", "--utp", "--dht", "45.66.77.1:7003").complete()
			}
			proxy.danted(proxyAddr, proxyPort)
			cmd, home := client.on(torrentfs(t)), scratch(t)
			cmd.env = slices.Concat(cmd.env, tc.vars, []string{"TORRENTFS_PROXY=socks5://" + proxyAddr + ":" + proxyPort, "XDG_CACHE_HOME=" + home})
			m := startMount(t, cmd, magnetOf(t, w.c)+tc.magnet, scratch(t), mountpoint(t), tc.flags...)
			sameFile(t, w.c.root(), m.path(w.c.name))
			m.complete()
			m.stop()
			client.nothingBeside()
			if n := client.counted()["relayed"]; n < 20 {
				t.Errorf("%d datagrams went to the proxy", n)
			}
			for name, want := range map[string]bool{"dht": false, "dht.proxied": tc.name == "DHT"} { // an id tells of an address
				if _, err := os.Stat(filepath.Join(home, "torrentfs", name)); (err == nil) != want {
					t.Errorf("%s is kept: %v", name, err)
				}
			}
		})
	}
}

// A proxy that dies in the middle takes nothing with it: no packet goes beside it
// meanwhile, the log says so, and reads go on when it is back.
func TestProxyDiesInTheMiddle(t *testing.T) {
	t.Parallel()
	w, h, client := behindProxy(t, 90)
	p := h.proxy(proxyAddr+":"+proxyPort, fakeproxy.Config{})
	m := w.mountOn(client, nil, "--no-prefetch", "--read-ahead", "64K", "--proxy", "socks5://"+proxyAddr+":"+proxyPort)
	readRange(t, w.c.root(), m.path(w.c.name), 0, 100_000)
	p.Close()
	rest := tool("cmp", w.c.root(), m.path(w.c.name)).start(t)
	m.logged("the proxy cannot be used: nothing goes out until it can, trying on", nil)
	m.logged("status", func(r record) bool {
		reason, _ := r["waiting_for"].(string)
		return r["network_err"] != nil && strings.Contains(reason, "the proxy cannot be used")
	})
	h.proxy(proxyAddr+":"+proxyPort, fakeproxy.Config{})
	rest.succeed()
	m.logged("the proxy works again", nil)
	m.stop()
	client.nothingBeside()
}

// A client that is bound to one of two interfaces uses it alone, though the
// other has the better route, and waits for it when it is gone.
func TestNothingBesideTheInterface(t *testing.T) {
	t.Parallel()
	need(t, "nft")
	for _, bind := range []bool{true, false} {
		name := "bound"
		if !bind {
			name = "not bound" // shows that the test can fail
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			home, vpn := newSwitch(t), newSwitch(t)
			w := newWorld(t, 91, map[string]*host{"45.66.77.1/24": home, "45.66.88.1/24": vpn})
			client := newHost(t)
			client.plug(home, "eth0", "45.66.77.10/24", "2001:db8:77::10/64")
			client.sh("ip route add default via 45.66.77.1; ip -6 route add default dev eth0")
			client.watch("eth0", "", "")
			connect := func() {
				client.plug(vpn, "vpn0", "45.66.88.10/24")
				client.sh("ip route add default via 45.66.88.1 metric 900")
			}
			connect()
			flags := []string{"--no-prefetch", "--read-ahead", "64K"}
			if bind {
				flags = append(flags, "--bind-interface", "vpn0")
			}
			m := w.mountOn(client, nil, flags...)
			readRange(t, w.c.root(), m.path(w.c.name), 0, 100_000)
			if !bind {
				m.stop()
				counts := client.counted()
				for _, kind := range []string{"names", "datagrams", "streams"} {
					if counts[kind] == 0 {
						t.Errorf("no packet of kind %s was counted: %v", kind, counts)
					}
				}
				return
			}
			client.sh("ip link del vpn0")
			m.logged("the interface is gone: nothing goes out until it is back", nil)
			rest := tool("cmp", w.c.root(), m.path(w.c.name)).start(t)
			m.logged("status", func(r record) bool { return r["waiting_for"] == "interface vpn0 is not there" })
			connect()
			m.logged("the interface is back", nil)
			rest.succeed()
			// Peers come in by it, on the same port.
			in := w.mount(w.c.torrent, "--no-trackers", "--peer", "45.66.88.10:"+strconv.FormatInt(m.port, 10))
			sameFile(t, w.c.root(), in.path(w.c.name))
			in.stop()
			m.stop()
			client.nothingBeside()
		})
	}
}
