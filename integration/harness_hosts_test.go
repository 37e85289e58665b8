//go:build linux

package integration

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// host is a network namespace of its own: a computer, a router, or the cable
// between them. It goes away with its test.
type host struct {
	t   testing.TB
	pid string // of a process in it that does nothing
}

// newHost makes a host that has a loopback interface alone.
func newHost(t testing.TB) *host {
	t.Helper()
	needPrivateNetwork(t)
	sleep := tool("unshare", "--net", "sleep", "infinity")
	sleep.quiet = true
	holder := sleep.start(t)
	h := &host{t: t, pid: strconv.Itoa(holder.cmd.Process.Pid)}
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the namespace is there", func() bool {
		other, err := os.Readlink("/proc/" + h.pid + "/ns/net")
		return err == nil && other != own
	})
	h.sh("ip link set lo up")
	return h
}

// on makes a command run on the host.
func (h *host) on(c command) command {
	c.host = h.pid
	return c
}

// here leaves a command on the tests' own host.
func here(c command) command { return c }

// sh runs a shell script on the host, which must succeed.
func (h *host) sh(script string) string {
	h.t.Helper()
	sh := h.on(tool("sh", "-euc", script))
	sh.quiet = true
	return sh.run(h.t)
}

// newSwitch makes a network segment, to plug hosts into.
func newSwitch(t testing.TB) *host {
	t.Helper()
	s := newHost(t)
	s.sh("ip link add br0 type bridge mcast_snooping 0 && ip link set br0 up")
	return s
}

var plugs atomic.Int32

// plug connects the host to a segment, by an interface of that name with those
// addresses (with a prefix length).
func (h *host) plug(into *host, name string, addrs ...string) {
	h.t.Helper()
	end := fmt.Sprintf("plug%d", plugs.Add(1))
	into.sh(fmt.Sprintf("ip link add %s type veth peer name %s netns %s && ip link set %s master br0 up", end, name, h.pid, end))
	script := "ip link set " + name + " up"
	for _, a := range addrs {
		script += fmt.Sprintf("; ip address add %s dev %s", a, name)
		if strings.Contains(a, ":") {
			script += " nodad" // it is to be there at once
		}
	}
	h.sh(script)
}

// segment makes hosts with an address each on a segment of their own, where
// PREFIX%d is the n-th one's; all else is sent there, too.
func segment(t testing.TB, format string, n int) []*host {
	t.Helper()
	s := newSwitch(t)
	hosts := make([]*host, n)
	for i := range hosts {
		hosts[i] = newHost(t)
		hosts[i].plug(s, "eth0", fmt.Sprintf(format, i+1))
		hosts[i].sh("[ -z \"$(ip -4 address show eth0)\" ] || ip route add default dev eth0; ip -6 route add default dev eth0")
	}
	return hosts
}

// home makes a router on the Internet's segment, with an address there, and a
// computer behind it: 192.168.N.2. The router translates addresses, and lets in
// what answers (address- and port-restricted, RFC 4787).
func home(t testing.TB, internet *host, wan string, n int) (router, computer *host) {
	t.Helper()
	router, computer = newHost(t), newHost(t)
	lan := newSwitch(t)
	router.plug(internet, "wan", wan+"/24")
	router.plug(lan, "lan", fmt.Sprintf("192.168.%d.1/24", n))
	computer.plug(lan, "eth0", fmt.Sprintf("192.168.%d.2/24", n))
	computer.sh(fmt.Sprintf("ip route add default via 192.168.%d.1", n))
	router.sh(`echo 1 > /proc/sys/net/ipv4/ip_forward
		iptables -w -t nat -A POSTROUTING -o wan -j MASQUERADE
		iptables -w -A FORWARD -i wan -m conntrack --ctstate NEW -j DROP
		iptables -w -A INPUT -i wan -m conntrack --ctstate NEW -j DROP`)
	return router, computer
}

// renumbers makes a router give UDP packets a source port of its choice, so that
// the port on which a computer says to listen is not where it is reached: two
// who hear of each other do not meet by chance.
func (h *host) renumbers(port int) {
	h.t.Helper()
	h.sh(fmt.Sprintf("iptables -w -t nat -I POSTROUTING -o wan -p udp -j MASQUERADE --to-ports %d", port))
}

// listens waits until a program listens on a TCP port of the host.
func (h *host) listens(port int) {
	h.t.Helper()
	eventually(h.t, fmt.Sprintf("somebody listens on port %d there", port), func() bool { return listening(h.t, h.pid, port) })
}

// seedOn seeds on a host; the peers' port is chosen.
func (h *host) seed(c content, port int, flags ...string) *server {
	h.t.Helper()
	cmd := h.on(torrentfs(h.t, slices.Concat([]string{"seed", c.torrent, "--data-dir", c.dir, "--listen-port", strconv.Itoa(port)}, logFlags, flags)...))
	s := &server{process: cmd.start(h.t), torrent: c.torrent, data: c.dir}
	s.port = s.logged("seeding", nil).number("port")
	return s
}

// mount mounts on a host: what names the torrent, on a new directory.
func (h *host) mount(torrent string, flags ...string) *mount {
	h.t.Helper()
	return startMount(h.t, h.on(torrentfs(h.t)), torrent, scratch(h.t), mountpoint(h.t), flags...)
}

// libtorrent starts a client on a host, at addr ("IP:port").
func (h *host) libtorrent(torrent, data, addr string, flags ...string) *libtorrent {
	h.t.Helper()
	c := command{name: needPython(h.t), args: slices.Concat([]string{
		"testdata/libtorrent_client.py", torrent, data, "--listen", addr,
	}, flags), openStdin: true}
	l := &libtorrent{process: h.on(c).start(h.t)}
	l.status("started", func(record) bool { return true })
	return l
}

// aria2 seeds on a host.
func (h *host) aria2(c content, port int, flags ...string) {
	h.t.Helper()
	need(h.t, "aria2c")
	cmd := command{name: "aria2c", env: homeIn(scratch(h.t)), args: slices.Concat([]string{
		"--no-conf", "--dir", c.forOthers(h.t), "--listen-port", strconv.Itoa(port), "--enable-dht6=false",
		"--bt-enable-lpd=false", "--enable-peer-exchange=false", "--check-integrity=true", "--file-allocation=none", "--seed-ratio=0.0",
		"--bt-hash-check-seed=true", "--summary-interval=0", "--enable-color=false", "--console-log-level=notice",
	}, flags, []string{c.torrent})}
	h.on(cmd).start(h.t)
	h.listens(port)
}

// transmission seeds on a host. It finds the torrent in a folder: nobody
// outside the host could tell it.
func (h *host) transmission(c content, port int, settings map[string]any) {
	h.t.Helper()
	need(h.t, "transmission-daemon")
	dir, watched := scratch(h.t), scratch(h.t)
	all := map[string]any{
		"peer-port": port, "peer-port-random-on-start": false, "rpc-enabled": false, "dht-enabled": false, "lpd-enabled": false,
		"pex-enabled": false, "utp-enabled": false, "port-forwarding-enabled": false, "rename-partial-files": false,
		"download-dir": c.forOthers(h.t), "watch-dir": watched, "watch-dir-enabled": true,
	}
	maps.Copy(all, settings)
	raw, err := json.Marshal(all)
	if err != nil {
		h.t.Fatal(err)
	}
	torrent, err := os.ReadFile(c.torrent)
	if err != nil {
		h.t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		filepath.Join(dir, "settings.json"): raw, filepath.Join(watched, "t.torrent"): torrent,
	} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			h.t.Fatal(err)
		}
	}
	cmd := command{name: "transmission-daemon", args: []string{"--foreground", "--config-dir", dir, "--log-debug"}, env: homeIn(dir)}
	p := h.on(cmd).start(h.t)
	h.listens(port)
	p.says("Verification is done")
}
