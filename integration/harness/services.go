//go:build linux

package harness

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"torrentfs/internal/fakeproxy"
)

// nameServerAddr is what the system's configuration says to all that runs in
// the tests' namespaces. Most of them have nobody there.
const nameServerAddr = "45.66.99.53"

// nameTheServer puts a resolv.conf of its own in the place of the machine's.
// Nobody outside sees it.
func nameTheServer() error {
	name := filepath.Join(Env.scratch, "resolv.conf")
	if err := os.WriteFile(name, []byte("nameserver "+nameServerAddr+"\noptions timeout:2 attempts:2\n"), 0o644); err != nil {
		return err
	}
	if err := os.Chmod(name, 0o644); err != nil { // whatever the umask
		return err
	}
	return os.NewSyscallError("mount", unix.Mount(name, "/etc/resolv.conf", "", unix.MS_BIND, ""))
}

// inside runs f, which opens sockets, on the host. They stay there.
func (h *Host) inside(f func() error) error {
	ended := make(chan error, 1)
	go func() { ended <- h.enter(f) }()
	return <-ended
}

// enter is inside on a goroutine of its own. The thread comes back from there: its
// end would be the signal to die for the processes that it has started.
func (h *Host) enter(f func() error) error {
	runtime.LockOSThread()
	ours, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer ours.Close() //nolint:errcheck // was only entered
	there, err := os.Open("/proc/" + h.PID + "/ns/net")
	if err != nil {
		return err
	}
	defer there.Close() //nolint:errcheck // likewise
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		return os.NewSyscallError("setns", err)
	}
	err = f()
	if back := unix.Setns(int(ours.Fd()), unix.CLONE_NEWNET); back != nil {
		return os.NewSyscallError("setns", back) // and the thread stays locked, so that nobody else gets it
	}
	runtime.UnlockOSThread()
	return err
}

func (h *Host) listenTCP(addr string) net.Listener {
	h.T.Helper()
	var l net.Listener
	if err := h.inside(func() (err error) { l, err = net.Listen("tcp", addr); return err }); err != nil {
		h.T.Fatal(err)
	}
	h.T.Cleanup(func() { l.Close() })
	return l
}

// dial connects from the host to an address: no name is looked up.
func (h *Host) dial(ctx context.Context, addr string) (c net.Conn, err error) {
	err = h.inside(func() (err error) {
		c, err = new(net.Dialer).DialContext(ctx, "tcp", addr)
		return err
	})
	return c, err
}

// names answers the host's part of what is asked of a name server: all names of
// example.org are at one address, all others nowhere.
func (h *Host) names(addr string) {
	h.T.Helper()
	var pc net.PacketConn
	if err := h.inside(func() (err error) { pc, err = net.ListenPacket("udp", nameServerAddr+":53"); return err }); err != nil {
		h.T.Fatal(err)
	}
	done := make(chan struct{})
	h.T.Cleanup(func() { pc.Close(); <-done })
	go func() {
		defer close(done)
		b := make([]byte, 1500)
		for {
			n, from, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			if reply, err := resolve(b[:n], addr); err == nil {
				_, _ = pc.WriteTo(reply, from)
			}
		}
	}()
}

func resolve(query []byte, addr string) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil {
		return nil, err
	}
	m.Response, m.Authoritative, m.Additionals = true, true, nil
	for _, q := range m.Questions {
		if !strings.HasSuffix(q.Name.String(), ".example.org.") {
			m.RCode = dnsmessage.RCodeNameError
		} else if q.Type == dnsmessage.TypeA {
			m.Answers = append(m.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 60},
				Body:   &dnsmessage.AResource{A: [4]byte(net.ParseIP(addr).To4())},
			})
		}
	}
	return m.Pack()
}

// web serves a directory on the host.
func (h *Host) web(addr, dir string) {
	h.T.Helper()
	l := h.listenTCP(addr)
	srv := &http.Server{Handler: http.FileServer(http.Dir(dir))}
	go srv.Serve(l) //nolint:errcheck // it ends with the test
	h.T.Cleanup(func() { srv.Close() })
}

// World is a host that has what a torrent can name, each under a name and an
// address that are not on the segment: a tracker over HTTP and UDP, a seeder, a
// web server with the data, the torrent and a blocklist, a name server.
type World struct {
	*Host
	C       Content
	Magnet  string
	tracker *Process
}

// The world's addresses and ports.
const (
	worldAddr   = "45.66.99.1"
	WorldPeer   = worldAddr + ":7000"
	TrackerPort = "6969"
	WebPort     = "8080"
)

// NewWorld plugs a world into segments, under an address on each.
func NewWorld(t testing.TB, seed uint64, addrs map[string]*Host) *World {
	t.Helper()
	w := &World{Host: NewHost(t), C: MakeFile(t, 3_000_000, seed)}
	for i, addr := range slices.Sorted(maps.Keys(addrs)) {
		w.Plug(addrs[addr], fmt.Sprintf("eth%d", i), addr)
	}
	w.Sh("ip address add " + worldAddr + "/32 dev lo; ip address add " + nameServerAddr + "/32 dev lo; ip route add default dev eth0")
	w.C = w.C.Create(t, "--tracker", "http://tracker.example.org:"+TrackerPort+"/announce")
	torrent, err := os.ReadFile(w.C.Torrent)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"a.torrent": torrent, "list": []byte("192.0.2.1\n")} {
		if err := os.WriteFile(filepath.Join(w.C.Dir, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	w.names(worldAddr)
	w.web(worldAddr+":"+WebPort, w.C.Dir)
	w.tracker = w.On(Torrentfs(t, slices.Concat([]string{
		"tracker", "--listen", worldAddr + ":" + TrackerPort, "--udp", worldAddr + ":" + TrackerPort, "--interval", "5s", "--min-interval", "2s",
	}, LogFlags)...)).Start(t)
	w.tracker.Logged("listening", func(r Record) bool { return r["network"] == "udp" })
	w.Magnet = MagnetOf(t, w.C) + "&tr=http://tracker.example.org:" + TrackerPort + "/announce&tr=udp://tracker.example.org:" + TrackerPort +
		"&ws=http://web.example.org:" + WebPort + "/"
	w.Seed(w.C, 7000, "--max-upload-rate", "500K/s") // so that the web seed is of use
	w.tracker.Logged("status", func(r Record) bool { return r.Number("seeders") >= 1 })
	return w
}

// Proxy runs a proxy of ours on the host, which reaches the world's names.
func (h *Host) Proxy(addr string, cfg fakeproxy.Config) *fakeproxy.Proxy {
	h.T.Helper()
	cfg.Dial = func(ctx context.Context, target string) (net.Conn, error) {
		name, port, err := net.SplitHostPort(target)
		if err != nil {
			return nil, err
		}
		if strings.HasSuffix(name, ".example.org") {
			name = worldAddr
		}
		return h.dial(ctx, net.JoinHostPort(name, port))
	}
	p := fakeproxy.Serve(h.listenTCP(addr), cfg)
	h.T.Cleanup(p.Close)
	return p
}

// Danted runs a real proxy that relays datagrams on the host.
func (h *Host) Danted(addr, port string) *Process {
	h.T.Helper()
	Need(h.T, "danted")
	config := filepath.Join(Scratch(h.T), "danted.conf")
	text := "logoutput: stderr\ninternal: " + addr + " port = " + port + "\nexternal: " + addr + `
clientmethod: none
socksmethod: none
user.privileged: root
user.unprivileged: nobody
client pass { from: 0/0 to: 0/0 }
socks pass { from: 0/0 to: 0/0 command: connect udpassociate }
socks pass { from: 0/0 to: 0/0 command: bindreply udpreply }
`
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		h.T.Fatal(err)
	}
	p := h.On(Tool("danted", "-N", "1", "-f", config)).Start(h.T)
	h.Listens(1080)
	return p
}

// Watch counts what leaves the host by an interface and is not for the one
// address that may be spoken to ("" is none): over TCP on a port, and over UDP,
// which is counted as relayed. What the kernel says by itself to find neighbours
// does not count.
func (h *Host) Watch(name, allowed, port string) {
	h.T.Helper()
	may := ""
	if allowed != "" {
		may = "ip daddr " + allowed + " tcp dport " + port + " counter name allowed accept\n" +
			"ip daddr " + allowed + " meta l4proto udp counter name relayed accept"
	}
	h.Sh(`nft -f - <<'.'
		table inet watch {
			counter allowed { }
			counter relayed { }
			counter names { }
			counter datagrams { }
			counter streams { }
			counter others { }
			chain output {
				type filter hook output priority 0
				oifname != "` + name + `" accept
				` + may + `
				icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, mld2-listener-report } accept
				meta l4proto { tcp, udp } th dport 53 counter name names accept
				meta l4proto udp counter name datagrams accept
				meta l4proto tcp counter name streams accept
				counter name others
			}
		}
.`)
}

// Counted is what watch has counted, in packets.
func (h *Host) Counted() map[string]int {
	h.T.Helper()
	counts := map[string]int{}
	name := ""
	for line := range strings.Lines(h.Sh("nft list counters table inet watch")) {
		fields := strings.Fields(line)
		switch {
		case len(fields) >= 2 && fields[0] == "counter":
			name = fields[1]
		case len(fields) >= 2 && fields[0] == "packets":
			var n int
			if _, err := fmt.Sscan(fields[1], &n); err != nil {
				h.T.Fatal(err)
			}
			counts[name] = n
		}
	}
	if len(counts) != 6 {
		h.T.Fatalf("counted %v", counts)
	}
	return counts
}

// NothingBeside fails the test if anything was counted that was not allowed.
func (h *Host) NothingBeside() {
	h.T.Helper()
	counts := h.Counted()
	for _, kind := range []string{"names", "datagrams", "streams", "others"} {
		if counts[kind] > 0 {
			h.T.Errorf("%d packets of kind %s went beside: %v", counts[kind], kind, counts)
		}
	}
}

// allWays turns on all that could find a way beside.
var allWays = []string{"TORRENTFS_DISABLE_DHT=0", "TORRENTFS_DISABLE_LSD=0", "TORRENTFS_DISABLE_PORTMAP=0"}

// MountOn mounts the world's magnet link on the host, with all ways to peers on.
func (w *World) MountOn(h *Host, vars []string, flags ...string) *Mount {
	h.T.Helper()
	cmd := h.On(Torrentfs(h.T))
	cmd.Env = slices.Concat(cmd.Env, allWays, vars)
	flags = append(flags, "--dht-bootstrap", "dht.example.org:6881", "--blocklist", "http://list.example.org:"+WebPort+"/list")
	return StartMount(h.T, cmd, w.Magnet, Scratch(h.T), Mountpoint(h.T), flags...)
}
