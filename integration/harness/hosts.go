//go:build linux

package harness

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

// Host is a network namespace of its own: a computer, a router, or the cable
// between them. It goes away with its test.
type Host struct {
	T   testing.TB
	PID string // of a process in it that does nothing
}

// NewHost makes a host that has a loopback interface alone.
func NewHost(t testing.TB) *Host {
	t.Helper()
	NeedPrivateNetwork(t)
	sleep := Tool("unshare", "--net", "sleep", "infinity")
	sleep.Quiet = true
	holder := sleep.Start(t)
	h := &Host{T: t, PID: strconv.Itoa(holder.Cmd.Process.Pid)}
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	Eventually(t, "the namespace is there", func() bool {
		other, err := os.Readlink("/proc/" + h.PID + "/ns/net")
		return err == nil && other != own
	})
	h.Sh("ip link set lo up")
	return h
}

// On makes a command run on the host.
func (h *Host) On(c Command) Command {
	c.host = h.PID
	return c
}

// Here leaves a command on the tests' own host.
func Here(c Command) Command { return c }

// Sh runs a shell script on the host, which must succeed.
func (h *Host) Sh(script string) string {
	h.T.Helper()
	sh := h.On(Tool("sh", "-euc", script))
	sh.Quiet = true
	return sh.Run(h.T)
}

// NewSwitch makes a network segment, to plug hosts into.
func NewSwitch(t testing.TB) *Host {
	t.Helper()
	s := NewHost(t)
	s.Sh("ip link add br0 type bridge mcast_snooping 0 && ip link set br0 up")
	return s
}

var plugs atomic.Int32

// Plug connects the host to a segment, by an interface of that name with those
// addresses (with a prefix length).
func (h *Host) Plug(into *Host, name string, addrs ...string) {
	h.T.Helper()
	end := fmt.Sprintf("plug%d", plugs.Add(1))
	into.Sh(fmt.Sprintf("ip link add %s type veth peer name %s netns %s && ip link set %s master br0 up", end, name, h.PID, end))
	script := "ip link set " + name + " up"
	for _, a := range addrs {
		script += fmt.Sprintf("; ip address add %s dev %s", a, name)
		if strings.Contains(a, ":") {
			script += " nodad" // it is to be there at once
		}
	}
	h.Sh(script)
}

// Segment makes hosts with an address each on a segment of their own, where
// PREFIX%d is the n-th one's; all else is sent there, too.
func Segment(t testing.TB, format string, n int) []*Host {
	t.Helper()
	s := NewSwitch(t)
	hosts := make([]*Host, n)
	for i := range hosts {
		hosts[i] = NewHost(t)
		hosts[i].Plug(s, "eth0", fmt.Sprintf(format, i+1))
		hosts[i].Sh("[ -z \"$(ip -4 address show eth0)\" ] || ip route add default dev eth0; ip -6 route add default dev eth0")
	}
	return hosts
}

// Home makes a router on the Internet's segment, with an address there, and a
// computer behind it: 192.168.N.2. The router translates addresses, and lets in
// what answers (address- and port-restricted, RFC 4787).
func Home(t testing.TB, internet *Host, wan string, n int) (router, computer *Host) {
	t.Helper()
	router, computer = NewHost(t), NewHost(t)
	lan := NewSwitch(t)
	router.Plug(internet, "wan", wan+"/24")
	router.Plug(lan, "lan", fmt.Sprintf("192.168.%d.1/24", n))
	computer.Plug(lan, "eth0", fmt.Sprintf("192.168.%d.2/24", n))
	computer.Sh(fmt.Sprintf("ip route add default via 192.168.%d.1", n))
	router.Sh(`echo 1 > /proc/sys/net/ipv4/ip_forward
		iptables -w -t nat -A POSTROUTING -o wan -j MASQUERADE
		iptables -w -A FORWARD -i wan -m conntrack --ctstate NEW -j DROP
		iptables -w -A INPUT -i wan -m conntrack --ctstate NEW -j DROP`)
	return router, computer
}

// Renumbers makes a router give UDP packets a source port of its choice, so that
// the port on which a computer says to listen is not where it is reached: two
// who hear of each other do not meet by chance.
func (h *Host) Renumbers(port int) {
	h.T.Helper()
	h.Sh(fmt.Sprintf("iptables -w -t nat -I POSTROUTING -o wan -p udp -j MASQUERADE --to-ports %d", port))
}

// Listens waits until a program listens on a TCP port of the host.
func (h *Host) Listens(port int) {
	h.T.Helper()
	Eventually(h.T, fmt.Sprintf("somebody listens on port %d there", port), func() bool { return listening(h.T, h.PID, port) })
}

// seedOn seeds on a host; the peers' port is chosen.
func (h *Host) Seed(c Content, port int, flags ...string) *Server {
	h.T.Helper()
	cmd := h.On(Torrentfs(h.T, slices.Concat([]string{"seed", c.Torrent, "--data-dir", c.Dir, "--listen-port", strconv.Itoa(port)}, LogFlags, flags)...))
	s := &Server{Process: cmd.Start(h.T), Torrent: c.Torrent, Data: c.Dir}
	s.Port = s.Logged("seeding", nil).Number("port")
	return s
}

// Mount mounts on a host: what names the torrent, on a new directory.
func (h *Host) Mount(torrent string, flags ...string) *Mount {
	h.T.Helper()
	return StartMount(h.T, h.On(Torrentfs(h.T)), torrent, Scratch(h.T), Mountpoint(h.T), flags...)
}

// Libtorrent starts a client on a host, at addr ("IP:port").
func (h *Host) Libtorrent(torrent, data, addr string, flags ...string) *Libtorrent {
	h.T.Helper()
	c := Command{Name: NeedPython(h.T), Args: slices.Concat([]string{
		TestData("libtorrent_client.py"), torrent, data, "--listen", addr,
	}, flags), OpenStdin: true}
	l := &Libtorrent{Process: h.On(c).Start(h.T)}
	l.Status("started", func(Record) bool { return true })
	return l
}

// Aria2 seeds on a host.
func (h *Host) Aria2(c Content, port int, flags ...string) {
	h.T.Helper()
	Need(h.T, "aria2c")
	cmd := Command{Name: "aria2c", Env: HomeIn(Scratch(h.T)), Args: slices.Concat([]string{
		"--no-conf", "--dir", c.ForOthers(h.T), "--listen-port", strconv.Itoa(port), "--enable-dht6=false",
		"--bt-enable-lpd=false", "--enable-peer-exchange=false", "--check-integrity=true", "--file-allocation=none", "--seed-ratio=0.0",
		"--bt-hash-check-seed=true", "--summary-interval=0", "--enable-color=false", "--console-log-level=notice",
	}, flags, []string{c.Torrent})}
	h.On(cmd).Start(h.T)
	h.Listens(port)
}

// Transmission seeds on a host. It finds the torrent in a folder: nobody
// outside the host could tell it.
func (h *Host) Transmission(c Content, port int, settings map[string]any) {
	h.T.Helper()
	Need(h.T, "transmission-daemon")
	dir, watched := Scratch(h.T), Scratch(h.T)
	all := map[string]any{
		"peer-port": port, "peer-port-random-on-start": false, "rpc-enabled": false, "dht-enabled": false, "lpd-enabled": false,
		"pex-enabled": false, "utp-enabled": false, "port-forwarding-enabled": false, "rename-partial-files": false,
		"download-dir": c.ForOthers(h.T), "watch-dir": watched, "watch-dir-enabled": true,
	}
	maps.Copy(all, settings)
	raw, err := json.Marshal(all)
	if err != nil {
		h.T.Fatal(err)
	}
	torrent, err := os.ReadFile(c.Torrent)
	if err != nil {
		h.T.Fatal(err)
	}
	for name, data := range map[string][]byte{
		filepath.Join(dir, "settings.json"): raw, filepath.Join(watched, "t.torrent"): torrent,
	} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			h.T.Fatal(err)
		}
	}
	cmd := Command{Name: "transmission-daemon", Args: []string{"--foreground", "--config-dir", dir, "--log-debug"}, Env: HomeIn(dir)}
	p := h.On(cmd).Start(h.T)
	h.Listens(port)
	p.Says("Verification is done")
}

// ReadOn mounts on a host and reads everything.
func (h *Host) ReadOn(c Content, torrent string, only string, flags ...string) *Mount {
	h.T.Helper()
	cmd := h.On(Torrentfs(h.T))
	cmd.Env = append(cmd.Env, only)
	m := StartMount(h.T, cmd, torrent, Scratch(h.T), Mountpoint(h.T), flags...)
	SameFile(h.T, c.Root(), m.Path(c.Name))
	m.Complete()
	return m
}

// StartLink begins to mount a link whose metadata nobody may have yet.
func (h *Host) StartLink(link, variable string, flags ...string) *Mount {
	h.T.Helper()
	dir := Mountpoint(h.T)
	cmd := h.On(Torrentfs(h.T, slices.Concat([]string{"mount", link, dir, "--data-dir", Scratch(h.T)}, LogFlags, flags)...))
	cmd.Env = append(cmd.Env, variable)
	m := &Mount{Server: &Server{Process: cmd.Start(h.T)}, Dir: dir}
	h.T.Cleanup(m.CleanUp)
	return m
}

// StartTracker runs our tracker on a host, at an address.
func (h *Host) StartTracker(addr string) *Process {
	h.T.Helper()
	tr := h.On(Torrentfs(h.T, slices.Concat([]string{
		"tracker", "--listen", addr, "--udp", addr, "--interval", "5s", "--min-interval", "2s",
	}, LogFlags)...)).Start(h.T)
	tr.Logged("listening", func(r Record) bool { return r["network"] == "udp" })
	return tr
}
