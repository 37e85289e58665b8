//go:build linux

package integration

import (
	"fmt"
	"os"
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

// plug connects a host to a segment, by an interface of that name with those
// addresses (with a prefix length).
func (s *host) plug(h *host, name string, addrs ...string) {
	s.t.Helper()
	end := fmt.Sprintf("plug%d", plugs.Add(1))
	s.sh(fmt.Sprintf("ip link add %s type veth peer name %s netns %s && ip link set %s master br0 up", end, name, h.pid, end))
	script := "ip link set " + name + " up"
	for _, a := range addrs {
		script += fmt.Sprintf("; ip address add %s dev %s", a, name)
		if strings.Contains(a, ":") {
			script += " nodad" // it is to be there at once
		}
	}
	h.sh(script)
}

// segment makes hosts with an address each on a segment of their own:
// 198.51.100.1 and so on, and 2001:db8::1.
func segment(t testing.TB, n int) []*host {
	t.Helper()
	s := newSwitch(t)
	hosts := make([]*host, n)
	for i := range hosts {
		hosts[i] = newHost(t)
		s.plug(hosts[i], "eth0", fmt.Sprintf("198.51.100.%d/24", i+1), fmt.Sprintf("2001:db8::%d/64", i+1))
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
	internet.plug(router, "wan", wan+"/24")
	lan.plug(router, "lan", fmt.Sprintf("192.168.%d.1/24", n))
	lan.plug(computer, "eth0", fmt.Sprintf("192.168.%d.2/24", n))
	computer.sh(fmt.Sprintf("ip route add default via 192.168.%d.1", n))
	router.sh(`echo 1 > /proc/sys/net/ipv4/ip_forward
		iptables -w -t nat -A POSTROUTING -o wan -j MASQUERADE
		iptables -w -A FORWARD -i wan -m conntrack --ctstate NEW -j DROP
		iptables -w -A INPUT -i wan -m conntrack --ctstate NEW -j DROP`)
	return router, computer
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
	return &libtorrent{process: h.on(c).start(h.t)}
}
