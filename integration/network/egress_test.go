//go:build linux

package network

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"torrentfs/integration/harness"
	"torrentfs/internal/fakeproxy"
)

const (
	proxyAddr = "45.66.77.2"
	proxyPort = "1080"
)

// behindProxy makes a world, a host for a proxy, and one for a client, which has
// a way to all of them, and counts what is not for the proxy.
func behindProxy(t *testing.T, seed uint64) (w *harness.World, proxy, client *harness.Host) {
	t.Helper()
	harness.Need(t, "nft")
	internet := harness.NewSwitch(t)
	w = harness.NewWorld(t, seed, map[string]*harness.Host{"45.66.77.1/24": internet})
	proxy, client = harness.NewHost(t), harness.NewHost(t)
	proxy.Plug(internet, "eth0", proxyAddr+"/24")
	proxy.Sh("ip route add default via 45.66.77.1")
	client.Plug(internet, "eth0", "45.66.77.10/24", "2001:db8:77::10/64")
	client.Sh("ip route add default via 45.66.77.1; ip -6 route add default dev eth0")
	client.Watch("eth0", proxyAddr, proxyPort)
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
		start     func(t *testing.T, h *harness.Host) running
	}{
		{"SOCKS5", "socks5://user:secret@", func(_ *testing.T, h *harness.Host) running {
			return running{targets: h.Proxy(proxyAddr+":"+proxyPort, fakeproxy.Config{User: "user", Password: "secret"}).Targets}
		}},
		{"HTTP", "http://user:secret@", func(_ *testing.T, h *harness.Host) running {
			return running{targets: h.Proxy(proxyAddr+":"+proxyPort, fakeproxy.Config{HTTP: true, User: "user", Password: "secret"}).Targets}
		}},
		{"microsocks", "socks5://user:secret@", func(t *testing.T, h *harness.Host) running {
			harness.Need(t, "microsocks")
			h.On(harness.Tool("microsocks", "-i", proxyAddr, "-p", proxyPort, "-u", "user", "-P", "secret")).Start(t)
			h.Listens(1080)
			return running{}
		}},
		{"danted", "socks5://", func(_ *testing.T, h *harness.Host) running {
			h.Danted(proxyAddr, proxyPort)
			return running{relays: true}
		}},
		{"tinyproxy", "http://user:secret@", func(t *testing.T, h *harness.Host) running {
			harness.Need(t, "tinyproxy")
			config := filepath.Join(harness.Scratch(t), "tinyproxy.conf")
			text := "Port " + proxyPort + "\nListen " + proxyAddr + "\nTimeout 60\nMaxClients 200\nBasicAuth user secret\n"
			if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			h.On(harness.Tool("tinyproxy", "-d", "-c", config)).Start(t)
			h.Listens(1080)
			return running{}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w, proxy, client := behindProxy(t, uint64(80+i))
			p := tc.start(t, proxy)
			m := w.MountOn(client, []string{"TORRENTFS_PROXY=" + tc.url + proxyAddr + ":" + proxyPort})
			harness.SameFile(t, w.C.Root(), m.Path(w.C.Name))
			m.Complete()
			info := client.On(harness.Torrentfs(t, "info", "http://torrent.example.org:"+harness.WebPort+"/a.torrent"))
			info.Env = append(info.Env, "TORRENTFS_PROXY="+tc.url+proxyAddr+":"+proxyPort)
			if text := info.Run(t); !strings.Contains(text, w.C.Name) {
				t.Errorf("fetched %s", text)
			}
			if last := m.Stop(); last.Number("downloaded") < 3_000_000 {
				t.Errorf("downloaded %d bytes", last.Number("downloaded"))
			}
			client.NothingBeside()
			counts := client.Counted()
			if counts["allowed"] == 0 {
				t.Error("nothing went to the proxy: the counters count nothing")
			}
			if p.relays != (counts["relayed"] > 0) {
				t.Errorf("%d datagrams went to the proxy", counts["relayed"])
			}
			m.Logged(map[bool]string{
				true:  "all goes through the proxy, UDP as well: there are no incoming peers, no local discovery and port mapping",
				false: "all goes through the proxy: there are no incoming peers, no local discovery and port mapping, and, as it relays no UDP, no uTP, DHT and UDP trackers",
			}[p.relays], nil)
			if p.targets != nil {
				asked := strings.Join(p.targets(), " ")
				for _, want := range []string{"tracker.example.org:" + harness.TrackerPort, "web.example.org:" + harness.WebPort, "list.example.org:" + harness.WebPort, "torrent.example.org:" + harness.WebPort, harness.WorldPeer} {
					if !strings.Contains(asked, want) {
						t.Errorf("the proxy was never asked for %s, but for %s", want, asked)
					}
				}
			}
			if text := m.Stderr.Text(); strings.Contains(text, "secret") {
				t.Error("the log shows the password")
			}
		})
	}
	// The same without a proxy shows that the test can fail.
	t.Run("without", func(t *testing.T) {
		t.Parallel()
		w, _, client := behindProxy(t, 89)
		m := w.MountOn(client, nil)
		harness.SameFile(t, w.C.Root(), m.Path(w.C.Name))
		m.Stop()
		counts := client.Counted()
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
		{"uTP", "", []string{"--no-trackers", "--peer", harness.WorldPeer}, nil},
		{"tracker", "&tr=udp://tracker.example.org:" + harness.TrackerPort, nil, nil},
		{"DHT", "", []string{"--no-trackers", "--dht-bootstrap", "dht.example.org:7003"}, []string{"TORRENTFS_DISABLE_DHT=0"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			harness.Need(t, "iptables")
			w, proxy, client := behindProxy(t, uint64(92+i))
			w.Sh("iptables -w -A INPUT -p tcp --dport 7000 -j REJECT --reject-with tcp-reset") // of peers
			if tc.vars != nil {
				other := harness.MakeFile(t, 1000, 95).Create(t)
				node := w.On(harness.Torrentfs(t, slices.Concat([]string{
					"seed", other.Torrent, "--data-dir", other.Dir, "--listen-port", "7003", "--no-trackers", "--dht-bootstrap", "45.66.77.1:7004",
				}, harness.LogFlags)...))
				node.Env = append(node.Env, "TORRENTFS_DISABLE_DHT=0")
				node.Start(t).Logged("seeding", nil)
				w.Libtorrent(w.C.Torrent, w.C.Dir, "45.66.77.1:7004", "--utp", "--dht", "45.66.77.1:7003").Complete()
			}
			proxy.Danted(proxyAddr, proxyPort)
			cmd, home := client.On(harness.Torrentfs(t)), harness.Scratch(t)
			cmd.Env = slices.Concat(cmd.Env, tc.vars, []string{"TORRENTFS_PROXY=socks5://" + proxyAddr + ":" + proxyPort, "XDG_CACHE_HOME=" + home})
			m := harness.StartMount(t, cmd, harness.MagnetOf(t, w.C)+tc.magnet, harness.Scratch(t), harness.Mountpoint(t), tc.flags...)
			harness.SameFile(t, w.C.Root(), m.Path(w.C.Name))
			m.Complete()
			m.Stop()
			client.NothingBeside()
			if n := client.Counted()["relayed"]; n < 20 {
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
	p := h.Proxy(proxyAddr+":"+proxyPort, fakeproxy.Config{})
	m := w.MountOn(client, nil, "--no-prefetch", "--read-ahead", "64K", "--proxy", "socks5://"+proxyAddr+":"+proxyPort)
	harness.ReadRange(t, w.C.Root(), m.Path(w.C.Name), 0, 100_000)
	p.Close()
	rest := harness.Tool("cmp", w.C.Root(), m.Path(w.C.Name)).Start(t)
	m.Logged("the proxy cannot be used: nothing goes out until it can, trying on", nil)
	m.Logged("status", func(r harness.Record) bool {
		reason, _ := r["waiting_for"].(string)
		return r["network_err"] != nil && strings.Contains(reason, "the proxy cannot be used")
	})
	h.Proxy(proxyAddr+":"+proxyPort, fakeproxy.Config{})
	rest.Succeed()
	m.Logged("the proxy works again", nil)
	m.Stop()
	client.NothingBeside()
}

// A client that is bound to one of two interfaces uses it alone, though the
// other has the better route, and waits for it when it is gone.
func TestNothingBesideTheInterface(t *testing.T) {
	t.Parallel()
	harness.Need(t, "nft")
	for _, bind := range []bool{true, false} {
		name := "bound"
		if !bind {
			name = "not bound" // shows that the test can fail
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			home, vpn := harness.NewSwitch(t), harness.NewSwitch(t)
			w := harness.NewWorld(t, 91, map[string]*harness.Host{"45.66.77.1/24": home, "45.66.88.1/24": vpn})
			client := harness.NewHost(t)
			client.Plug(home, "eth0", "45.66.77.10/24", "2001:db8:77::10/64")
			client.Sh("ip route add default via 45.66.77.1; ip -6 route add default dev eth0")
			client.Watch("eth0", "", "")
			connect := func() {
				client.Plug(vpn, "vpn0", "45.66.88.10/24")
				client.Sh("ip route add default via 45.66.88.1 metric 900")
			}
			connect()
			flags := []string{"--no-prefetch", "--read-ahead", "64K"}
			if bind {
				flags = append(flags, "--bind-interface", "vpn0")
			}
			m := w.MountOn(client, nil, flags...)
			harness.ReadRange(t, w.C.Root(), m.Path(w.C.Name), 0, 100_000)
			if !bind {
				m.Stop()
				counts := client.Counted()
				for _, kind := range []string{"names", "datagrams", "streams"} {
					if counts[kind] == 0 {
						t.Errorf("no packet of kind %s was counted: %v", kind, counts)
					}
				}
				return
			}
			client.Sh("ip link del vpn0")
			m.Logged("the interface is gone: nothing goes out until it is back", nil)
			rest := harness.Tool("cmp", w.C.Root(), m.Path(w.C.Name)).Start(t)
			m.Logged("status", func(r harness.Record) bool { return r["waiting_for"] == "interface vpn0 is not there" })
			connect()
			m.Logged("the interface is back", nil)
			rest.Succeed()
			// Peers come in by it, on the same port.
			in := w.Mount(w.C.Torrent, "--no-trackers", "--peer", "45.66.88.10:"+strconv.FormatInt(m.Port, 10))
			harness.SameFile(t, w.C.Root(), in.Path(w.C.Name))
			in.Stop()
			m.Stop()
			client.NothingBeside()
		})
	}
}
