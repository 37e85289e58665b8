package dht

import (
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

// testNode is a DHT on a loopback address of its own, running.
type testNode struct {
	*DHT
	addr netip.AddrPort
	stop func()
}

// startNode starts a node on ip that bootstraps from others.
func startNode(t *testing.T, ip string, change func(*Config)) *testNode {
	t.Helper()
	network := "udp4"
	if netip.MustParseAddr(ip).Is6() {
		network = "udp6"
	}
	conn, err := net.ListenPacket(network, net.JoinHostPort(ip, "0"))
	if err != nil {
		t.Skipf("no such loopback address here: %v", err)
	}
	cfg := Config{Bootstrap: []string{}}
	if network == "udp4" {
		cfg.IPv4 = conn
	} else {
		cfg.IPv6 = conn
	}
	if change != nil {
		change(&cfg)
	}
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- d.Run(t.Context()) }()
	n := &testNode{DHT: d}
	n.addr, _ = addrPortOf(conn.LocalAddr())
	n.stop = sync.OnceFunc(func() {
		if err := d.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if err := <-done; err != nil && !errors.Is(err, ErrClosed) {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(n.stop)
	return n
}

// waitFor polls, because what is waited for happens in the library.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// announce runs Announce in the background and returns what it finds.
func announce(t *testing.T, n *testNode, a Announcement) <-chan netip.AddrPort {
	t.Helper()
	found := make(chan netip.AddrPort, 100)
	a.Found = func(peers []netip.AddrPort) {
		for _, p := range peers {
			found <- p
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Announce(ctx, a) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) && !errors.Is(err, ErrClosed) {
			t.Errorf("announce: %v", err)
		}
	})
	return found
}

// network starts n nodes that know the first one.
func network(t *testing.T, ips []string) []*testNode {
	t.Helper()
	nodes := []*testNode{startNode(t, ips[0], nil)}
	boot := func(c *Config) { c.Bootstrap = []string{nodes[0].addr.String()} }
	for _, ip := range ips[1:] {
		nodes = append(nodes, startNode(t, ip, boot))
	}
	waitFor(t, "all nodes know others", func() bool {
		for _, n := range nodes[1:] {
			if s := n.Stats(); s.IPv4.Good+s.IPv6.Good == 0 {
				return false
			}
		}
		return true
	})
	return nodes
}

func loopback(first, n int) (ips []string) {
	for i := range n {
		ips = append(ips, fmt.Sprintf("127.0.0.%d", first+i))
	}
	return ips
}

func TestPeersFindEachOther(t *testing.T) {
	nodes := network(t, loopback(10, 9))
	hash := sha1.Sum([]byte("a torrent"))
	announce(t, nodes[3], Announcement{InfoHash: hash, Port: 7001})
	want := netip.MustParseAddrPort("127.0.0.13:7001")
	waitFor(t, "the announce is stored somewhere", func() bool { return stored(nodes, hash, want) })
	found := announce(t, nodes[7], Announcement{InfoHash: hash, Implied: true})
	select {
	case p := <-found:
		if p != want {
			t.Errorf("found %v, want %v", p, want)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("never found")
	}
	// The second one announces itself by the port of its socket.
	waitFor(t, "that announce is stored", func() bool { return stored(nodes, hash, nodes[7].addr) })
	again := announce(t, nodes[5], Announcement{InfoHash: hash})
	seen := map[netip.AddrPort]bool{}
	for !seen[nodes[7].addr] || !seen[want] {
		select {
		case p := <-again:
			seen[p] = true
		case <-time.After(30 * time.Second):
			t.Fatalf("found only %v", seen)
		}
	}
}

// stored reports whether any of the nodes would name peer to others.
func stored(nodes []*testNode, hash nodeID, peer netip.AddrPort) bool {
	return slices.ContainsFunc(nodes, func(n *testNode) bool {
		h := n.nodes[0].host
		h.mu.Lock()
		defer h.mu.Unlock()
		return slices.Contains(h.store.get(time.Now(), hash, maxSwarmPeers), peer)
	})
}

func TestIPv6(t *testing.T) {
	c, err := net.ListenPacket("udp6", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 here")
	}
	c.Close()
	nodes := network(t, []string{"::1", "::1", "::1", "::1"})
	hash := sha1.Sum([]byte("a torrent"))
	announce(t, nodes[1], Announcement{InfoHash: hash, Port: 7001})
	want := netip.MustParseAddrPort("[::1]:7001")
	waitFor(t, "the announce is stored somewhere", func() bool { return stored(nodes, hash, want) })
	found := announce(t, nodes[2], Announcement{InfoHash: hash})
	select {
	case p := <-found:
		if p != want {
			t.Errorf("found %v, want %v", p, want)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("never found")
	}
}

// A family that knows no nodes learns of nodes through the other one (BEP 32).
func TestFamiliesHelpEachOther(t *testing.T) {
	both := func(c *Config) {
		conn, err := net.ListenPacket("udp6", "[::1]:0")
		if err != nil {
			t.Skip("no IPv6 here")
		}
		c.IPv6 = conn
	}
	a := startNode(t, "127.0.0.30", both)
	var six netip.AddrPort
	six, _ = addrPortOf(a.cfg.IPv6.LocalAddr())
	b := startNode(t, "127.0.0.31", func(c *Config) {
		both(c)
		c.Bootstrap = []string{a.addr.String(), six.String()}
	})
	waitFor(t, "b knows a by both families", func() bool {
		s := b.Stats()
		return s.IPv4.Good > 0 && s.IPv6.Good > 0
	})
	bSix, _ := addrPortOf(b.cfg.IPv6.LocalAddr())
	a.AddNode(bSix) // a PORT message would do this
	b.AddHost(six.String())
	waitFor(t, "b has heard of a by IPv6", func() bool { return !b.nodes[1].host.lastReply(six).IsZero() })
	c := startNode(t, "127.0.0.32", func(c *Config) {
		both(c)
		c.Bootstrap = []string{b.addr.String()} // IPv4 alone
	})
	waitFor(t, "c has nodes by IPv6", func() bool { return c.Stats().IPv6.Good > 0 })
}

func TestReadOnlyAnswersNobody(t *testing.T) {
	a := startNode(t, "127.0.0.40", nil)
	b := startNode(t, "127.0.0.41", func(c *Config) {
		c.ReadOnly = true
		c.Bootstrap = []string{a.addr.String()}
	})
	waitFor(t, "the read-only node knows the other", func() bool { return b.Stats().IPv4.Good > 0 })
	if got := a.Stats().IPv4.Nodes; got != 0 {
		t.Errorf("%d nodes know a read-only node", got)
	}
	if got := b.Stats().IPv4.Answered; got != 0 {
		t.Errorf("a read-only node answered %d queries", got)
	}
}

func TestStateSurvives(t *testing.T) {
	file := filepath.Join(t.TempDir(), "dht")
	a := startNode(t, "127.0.0.50", nil)
	b := startNode(t, "127.0.0.51", func(c *Config) {
		c.Bootstrap = []string{a.addr.String()}
		c.StateFile = file
	})
	waitFor(t, "b knows a", func() bool { return b.Stats().IPv4.Good > 0 })
	b.stop()
	v4, _, err := readState(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(v4.nodes) != 1 || v4.nodes[0].addr != a.addr {
		t.Fatalf("saved %v", v4.nodes)
	}
	again := startNode(t, "127.0.0.52", func(c *Config) { c.StateFile = file }) // no bootstrap nodes
	waitFor(t, "b finds a again", func() bool { return again.Stats().IPv4.Good > 0 })
	if got := again.nodes[0].save().id; got != v4.id {
		t.Errorf("id %x, was %x", got, v4.id)
	}
}

// A network that was not there at the start is used when it comes.
func TestLateNetwork(t *testing.T) {
	conn, err := net.ListenPacket("udp4", "127.0.0.60:0")
	if err != nil {
		t.Fatal(err)
	}
	addr, _ := addrPortOf(conn.LocalAddr())
	conn.Close() // no node is there
	b := startNode(t, "127.0.0.61", func(c *Config) { c.Bootstrap = []string{addr.String()} })
	found := announce(t, b, Announcement{InfoHash: nodeID{1}, Port: 1})
	late, err := net.ListenPacket("udp4", addr.String())
	if err != nil {
		t.Skipf("port is taken: %v", err)
	}
	a, err := New(Config{IPv4: late, Bootstrap: []string{}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	waitFor(t, "b knows a", func() bool { return b.Stats().IPv4.Good > 0 })
	waitFor(t, "b announces to a", func() bool { return a.Stats().IPv4.Swarms > 0 })
	select {
	case p := <-found:
		t.Errorf("found %v", p)
	default:
	}
	cancel()
	if err := errors.Join(<-done, a.Close()); err != nil {
		t.Error(err)
	}
}

// Once others agree on our address, the id becomes one that fits it (BEP 42),
// and what was known stays known.
func TestIDFollowsAddress(t *testing.T) {
	a := startNode(t, "127.0.0.80", nil)
	b := startNode(t, "127.0.0.81", func(c *Config) { c.Bootstrap = []string{a.addr.String()} })
	waitFor(t, "b knows a", func() bool { return b.Stats().IPv4.Good > 0 })
	addr := netip.MustParseAddr("81.2.3.4")
	n := b.nodes[0]
	before := n.save().id
	if idFits(before, addr) {
		t.Skip("the id fits by chance")
	}
	for i := range minVotes { // what replies from the Internet would do
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{60, byte(i), 1, 1}), 1)
		n.host.heard(time.Now(), nodeInfo{nodeID{byte(i)}, from}, addr)
	}
	waitFor(t, "the id fits", func() bool { return idFits(n.save().id, addr) })
	waitFor(t, "b still knows a", func() bool { return b.Stats().IPv4.Good > 0 })
	if got := b.Stats().IPv4.External; got != addr {
		t.Errorf("address %v", got)
	}
	found := announce(t, b, Announcement{InfoHash: nodeID{5}, Port: 7001})
	waitFor(t, "b announces", func() bool { return a.Stats().IPv4.Swarms > 0 })
	select {
	case p := <-found:
		t.Errorf("found %v", p)
	default:
	}
}

func TestClosed(t *testing.T) {
	n := startNode(t, "127.0.0.70", nil)
	n.stop()
	if err := n.Run(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("Run: %v", err)
	}
	if err := n.Announce(t.Context(), Announcement{}); !errors.Is(err, ErrClosed) {
		t.Errorf("Announce: %v", err)
	}
	if err := n.Close(); err != nil {
		t.Errorf("Close again: %v", err)
	}
	if _, err := New(Config{}); err == nil {
		t.Error("New without a socket works")
	}
}
