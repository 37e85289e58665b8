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
	type running struct{ targets func() []string }
	for i, tc := range []struct {
		name, url string
		start     func(t *testing.T, h *host) running
	}{
		{"SOCKS5", "socks5://user:secret@", func(_ *testing.T, h *host) running {
			return running{h.proxy(proxyAddr+":"+proxyPort, fakeproxy.Config{User: "user", Password: "secret"}).Targets}
		}},
		{"HTTP", "http://user:secret@", func(_ *testing.T, h *host) running {
			return running{h.proxy(proxyAddr+":"+proxyPort, fakeproxy.Config{HTTP: true, User: "user", Password: "secret"}).Targets}
		}},
		{"microsocks", "socks5://user:secret@", func(t *testing.T, h *host) running {
			need(t, "microsocks")
			h.on(tool("microsocks", "-i", proxyAddr, "-p", proxyPort, "-u", "user", "-P", "secret")).start(t)
			h.listens(1080)
			return running{}
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
			if n := client.counted()["allowed"]; n == 0 {
				t.Error("nothing went to the proxy: the counters count nothing")
			}
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
