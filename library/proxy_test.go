package library

import (
	"context"
	"errors"
	"net"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"torrentfs/internal/fakeproxy"
	"torrentfs/metainfo"
	"torrentfs/tracker"
)

// openBehind opens a library that has a proxy and no other way.
func openBehind(t *testing.T, p *fakeproxy.Proxy, scheme string) *Library {
	t.Helper()
	proxy, err := ParseProxy(scheme + "://" + p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	network, err := OpenNetwork(deadline(t), NetworkConfig{Proxy: proxy})
	if err != nil {
		t.Fatal(err)
	}
	peers := []netip.Addr{netip.MustParseAddr("127.0.0.1")} // where the peers of these tests are
	l, err := Open(Config{
		DataDir: t.TempDir(), Network: network, TrustPeers: peers,
		Discovery: Discovery{DHT: true, LSD: true, PortMap: true, DHTBootstrap: []string{"dht.example:1"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(context.Background()); network.Close() })
	return l
}

func startFakeProxy(t *testing.T, addr string, cfg fakeproxy.Config) *fakeproxy.Proxy {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	p := fakeproxy.Serve(l, cfg)
	t.Cleanup(p.Close)
	return p
}

// awaitAnnounced waits until the tracker knows somebody: who asks earlier asks
// again much later.
func awaitAnnounced(t *testing.T, trk *tracker.Server) {
	t.Helper()
	for ctx := deadline(t); trk.Stats().Seeders+trk.Stats().Leechers == 0; {
		select {
		case <-ctx.Done():
			t.Fatal("nobody announced")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Trackers, peers and web seeds are reached through a proxy of either kind, by
// names that it alone resolves; all that has no way through it is off. A magnet
// link needs no more.
func TestThroughProxy(t *testing.T) {
	for _, scheme := range []string{"socks5", "http"} {
		t.Run(scheme, func(t *testing.T) {
			trk := tracker.New(tracker.Config{})
			web := httptest.NewServer(trk)
			defer web.Close()
			mi, files := testTorrent(t, "http://tracker.example:80/announce")
			pages := serveFiles(t, files, nil)
			mi.WebSeeds = []string{"http://web.example/mirror/"}
			real := map[string]string{
				"tracker.example:80": strings.TrimPrefix(web.URL, "http://"), "web.example:80": strings.TrimPrefix(pages.URL, "http://"),
			}
			p := startFakeProxy(t, "127.0.0.1:0", fakeproxy.Config{HTTP: scheme == "http", Dial: func(ctx context.Context, target string) (net.Conn, error) {
				if to := real[target]; to != "" {
					target = to
				}
				return new(net.Dialer).DialContext(ctx, "tcp", target)
			}})
			seedDir := t.TempDir()
			writeFiles(t, seedDir, files)
			direct := *mi
			direct.Trackers = [][]string{{web.URL + "/announce"}}
			seed := addTorrent(t, openLibrary(t, seedDir), &direct, AddOptions{})
			awaitComplete(t, seed)
			awaitAnnounced(t, trk)

			l := openBehind(t, p, scheme)
			if l.Port() != 0 || l.listeners.tcp != nil || l.listeners.shared != nil || l.listeners.utp != nil || l.discover.dht != nil || l.discover.local.port != 0 || l.discover.ports != nil {
				t.Error("something listens or looks beside the proxy")
			}
			m := &metainfo.Magnet{Hash: mi.Info.Hash, Trackers: []string{"http://tracker.example:80/announce", "udp://tracker.example:80"}}
			got, err := l.Resolve(deadline(t), m, ResolveOptions{})
			if err != nil {
				t.Fatal(err)
			}
			got.WebSeeds = mi.WebSeeds
			awaitComplete(t, addTorrent(t, l, got, AddOptions{NoTrackers: true}))
			got.WebSeeds = nil
			l2 := openBehind(t, p, scheme)
			tor := addTorrent(t, l2, mi, AddOptions{Peers: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1")}, noWebSeeds: true})
			awaitComplete(t, tor)
			asked := strings.Join(p.Targets(), " ")
			for _, want := range []string{"tracker.example:80", "web.example:80", "127.0.0.1:1"} {
				if !strings.Contains(asked, want) {
					t.Errorf("the proxy was never asked for %s, but for %s", want, asked)
				}
			}
		})
	}
}

// A proxy that dies in the middle is said to, and is used again when it is back:
// nobody behind it was given up meanwhile.
func TestProxyDiesAndComesBack(t *testing.T) {
	mi, files := testTorrent(t, "")
	seedDir := t.TempDir()
	writeFiles(t, seedDir, files)
	seeder := openLibrary(t, seedDir)
	awaitComplete(t, addTorrent(t, seeder, mi, AddOptions{}))
	p := startFakeProxy(t, "127.0.0.1:0", fakeproxy.Config{})
	l := openBehind(t, p, "socks5")
	p.Close()
	peer := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(seeder.Port()))
	tor := addTorrent(t, l, mi, AddOptions{Peers: []netip.AddrPort{peer}})
	for ctx := deadline(t); tor.Stats().NetworkErr == nil; {
		select {
		case <-ctx.Done():
			t.Fatal("nobody says that the proxy is dead")
		case <-time.After(10 * time.Millisecond):
		}
	}
	startFakeProxy(t, p.Addr(), fakeproxy.Config{})
	awaitComplete(t, tor)
	if err := tor.Stats().NetworkErr; err != nil {
		t.Error(err)
	}
}

// Where the proxy relays datagrams a UDP tracker is asked by its name, and peers
// are reached that no TCP connection gets to.
func TestUDPThroughProxy(t *testing.T) {
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended, trk := make(chan error, 1), tracker.New(tracker.Config{})
	go func() { ended <- trk.Serve(ctx, nil, []net.PacketConn{pc}) }()
	defer func() { stop(); <-ended }()
	port := strconv.Itoa(pc.LocalAddr().(*net.UDPAddr).Port)

	mi, files := testTorrent(t, "")
	seedDir := t.TempDir()
	writeFiles(t, seedDir, files)
	direct := *mi
	direct.Trackers = [][]string{{"udp://127.0.0.1:" + port}}
	awaitComplete(t, addTorrent(t, openLibrary(t, seedDir), &direct, AddOptions{}))
	awaitAnnounced(t, trk)

	p := startFakeProxy(t, "127.0.0.1:0", fakeproxy.Config{
		Dial:    func(context.Context, string) (net.Conn, error) { return nil, errors.New("no TCP") },
		Resolve: func(string) netip.Addr { return netip.MustParseAddr("127.0.0.1") },
		UDP: func() (inner, outer net.PacketConn, err error) {
			if inner, err = net.ListenPacket("udp", "127.0.0.1:0"); err == nil {
				outer, err = net.ListenPacket("udp", "127.0.0.1:0")
			}
			return inner, outer, err
		},
	})
	l := openBehind(t, p, "socks5")
	if l.Port() != 0 || l.listeners.tcp != nil || l.listeners.udpPort() != 0 || l.discover.local.port != 0 || l.discover.ports != nil {
		t.Error("something listens or looks beside the proxy, or says where we are")
	}
	if l.listeners.utp == nil || l.discover.dht == nil {
		t.Error("no uTP or no DHT")
	}
	m := &metainfo.Magnet{Hash: mi.Info.Hash, Trackers: []string{"udp://tracker.example:" + port}}
	got, err := l.Resolve(deadline(t), m, ResolveOptions{})
	if err != nil {
		t.Fatal(err)
	}
	awaitComplete(t, addTorrent(t, l, got, AddOptions{}))
	if sent := strings.Join(p.Datagrams(), " "); !strings.Contains(sent, "tracker.example:"+port) {
		t.Errorf("the proxy sent to %s", sent)
	}
}

// Who a stranger names at an address that is not public is not asked of the proxy,
// whose network that would be: no peer, tracker or web seed.
func TestNoPrivateAddressesOfTheProxy(t *testing.T) {
	mi, _ := testTorrent(t, "")
	trk := tracker.New(tracker.Config{})
	web := httptest.NewServer(trk)
	defer web.Close()
	p := startFakeProxy(t, "127.0.0.1:0", fakeproxy.Config{Dial: func(ctx context.Context, target string) (net.Conn, error) {
		if target != "tracker.example:80" {
			return nil, errors.New("nobody")
		}
		return new(net.Dialer).DialContext(ctx, "tcp", strings.TrimPrefix(web.URL, "http://"))
	}})
	proxy, err := ParseProxy("socks5://" + p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	network, err := OpenNetwork(t.Context(), NetworkConfig{Proxy: proxy})
	if err != nil {
		t.Fatal(err)
	}
	defer network.Close()
	l, err := Open(Config{DataDir: t.TempDir(), Network: network})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close(context.Background())
	var tiers [][]string
	var peers []netip.AddrPort
	for _, a := range []string{"10.0.0.1", "127.0.0.1", "169.254.169.254", "100.64.0.1", "::1", "fd00::1", "::ffff:10.0.0.1"} {
		addr := netip.MustParseAddr(a)
		tiers = append(tiers, []string{"http://" + netip.AddrPortFrom(addr, 80).String() + "/announce"})
		peers = append(peers, netip.AddrPortFrom(addr, 6881))
		mi.WebSeeds = append(mi.WebSeeds, "http://"+netip.AddrPortFrom(addr, 81).String()+"/x/")
	}
	for _, name := range []string{"localhost", "127.1", "0x7f000001", "2130706433", "127.0.0.1.", "router", "nas.local"} {
		tiers = append(tiers, []string{"http://" + name + "/announce"})
		mi.WebSeeds = append(mi.WebSeeds, "http://"+name+":81/x/")
	}
	mi.Trackers = append(tiers, []string{"http://tracker.example/announce"})
	public := netip.MustParseAddrPort("203.0.113.1:6881")
	tor := addTorrent(t, l, mi, AddOptions{Peers: append(peers, public)})
	awaitAnnounced(t, trk) // all tiers before it were passed
	for ctx := deadline(t); !strings.Contains(strings.Join(p.Targets(), " "), public.String()); {
		select {
		case <-ctx.Done():
			t.Fatal("the public peer was not tried")
		case <-time.After(10 * time.Millisecond):
		}
	}
	for _, s := range tor.WebSeeds() {
		if s.Received > 0 {
			t.Errorf("web seed %+v", s)
		}
	}
	for _, target := range p.Targets() {
		if target != "tracker.example:80" && target != public.String() {
			t.Errorf("the proxy was asked for %s", target)
		}
	}
}
