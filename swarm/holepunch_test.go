package swarm

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"torrentfs/internal/simnet"
	"torrentfs/swarm/conn"
	"torrentfs/swarm/utp"
	"torrentfs/swarm/wire"
)

// meeting is three sessions: two behind routers of their own, and one between
// them that has none and no part of the torrent.
type meeting struct {
	net                 *simnet.Network
	seed, middle, us    *Session
	seedAddr, relayAddr netip.AddrPort
}

func (m *meeting) session(t *testing.T, ip string, withUTP bool) (*Session, *simnet.Host) {
	t.Helper()
	h := m.net.Host(ip, simnet.Link{Delay: 20 * ms, Up: 100 * mbit})
	l, err := h.Listen("tcp", fmt.Sprintf(":%d", peerTCP))
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Listener: l, Dialer: h, Seed: 1}
	if withUTP {
		pc, err := h.ListenPacket(peerTCP)
		if err != nil {
			t.Fatal(err)
		}
		cfg.UTP = utp.New(pc, utp.Config{})
	}
	return NewSession(cfg), h
}

// inMeeting runs f when the seed is connected to the relay. relayUTP says whether the
// relay knows uTP, and so holepunching.
func inMeeting(t *testing.T, prefix string, relayUTP bool, f func(t *testing.T, m *meeting)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := &meeting{net: simnet.New(1)}
		defer m.net.Close()
		var inside, home *simnet.Host
		m.seed, inside = m.session(t, prefix+"1", true)
		defer m.seed.Close()
		m.middle, _ = m.session(t, prefix+"2", relayUTP)
		defer m.middle.Close()
		m.us, home = m.session(t, prefix+"3", true)
		defer m.us.Close()
		inside.Shield(true)
		home.Shield(true)
		m.seedAddr = netip.AddrPortFrom(netip.MustParseAddr(prefix+"1"), peerTCP)
		m.relayAddr = netip.AddrPortFrom(netip.MustParseAddr(prefix+"2"), peerTCP)
		f(t, m)
	})
}

// Two peers behind routers reach each other with the help of a third that both
// know (BEP 55), and do not where that one cannot help.
func TestHolepunchThroughRouters(t *testing.T) {
	info, data := payload(t, 256<<10, 16<<10)
	for _, c := range []struct {
		name, prefix string
		helps        bool
	}{{"IPv4", "8.0.0.", true}, {"IPv6", "2001:4860::", true}, {"without a relay", "8.0.0.", false}} {
		inMeeting(t, c.prefix, c.helps, func(t *testing.T, m *meeting) {
			add(t, m.seed, TorrentConfig{Info: info, Store: fullStore(info, data), Peers: []netip.AddrPort{m.relayAddr}})
			middle := add(t, m.middle, TorrentConfig{Info: info, Store: newMemStore(info)})
			time.Sleep(500 * ms)
			middle.call(func() { // the seed never hears of us by PEX: both might dial at once by chance
				for _, c := range middle.peers {
					if c != nil {
						c.pex.due = never
					}
				}
			})
			time.Sleep(2 * time.Second)
			store := newMemStore(info)
			tor := add(t, m.us, TorrentConfig{Info: info, Store: store, Peers: []netip.AddrPort{m.relayAddr}, Prefetch: true})
			select {
			case <-tor.Complete():
			case <-time.After(time.Minute):
			}
			peers := tor.Peers()
			i := slices.IndexFunc(peers, func(p PeerStats) bool { return p.Addr == m.seedAddr })
			if c.helps && !tor.pieces.allHeld.Load() || !c.helps && (i >= 0 || tor.pieces.allHeld.Load()) {
				t.Errorf("%s: complete: %v, peers %+v", c.name, tor.pieces.allHeld.Load(), peers)
			}
			if i >= 0 && !peers[i].UTP {
				t.Errorf("%s: not by uTP", c.name)
			}
			time.Sleep(3 * time.Minute) // one connection alone is kept, and nobody dials for another
			if n := len(slices.DeleteFunc(tor.Peers(), func(p PeerStats) bool { return p.Addr != m.seedAddr })); n > 1 {
				t.Errorf("%s: %d connections to the seed", c.name, n)
			}
			store.check(t, data)
		})
	}
}

// A private torrent's peers are the tracker's alone: nobody is brought together.
func TestNoHolepunchInPrivateTorrents(t *testing.T) {
	public, _ := payload(t, 64<<10, 16<<10)
	info := privately(t, public)
	inMeeting(t, "8.0.0.", true, func(t *testing.T, m *meeting) {
		tor := add(t, m.middle, TorrentConfig{Info: info, Store: newMemStore(info)})
		c := &peerConn{Conn: &conn.Conn{Addr: m.seedAddr}, t: tor}
		h, err := wire.ParseExtHandshake(tor.appendExtHandshake(nil, c)[6:])
		if err != nil || h.M[wire.ExtHolepunch] != 0 {
			t.Errorf("announced: %+v, %v", h, err)
		}
	})
}

// counter is a transport that gets nowhere, and counts who is dialled.
type counter struct {
	net.Listener
	mu    sync.Mutex
	dials map[string]int
}

func (c *counter) DialContext(_ context.Context, _, address string) (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dials == nil {
		c.dials = map[string]int{}
	}
	c.dials[address]++
	return nil, context.DeadlineExceeded
}

func (c *counter) total() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.dials {
		n += k
	}
	return n
}

// standIn makes a connection of the torrent that nobody reads or writes. It runs
// in the loop.
func standIn(tor *Torrent, addr string, holepunch bool) *peerConn {
	a := netip.MustParseAddrPort(addr)
	c := &peerConn{Conn: &conn.Conn{Addr: a}, t: tor, listens: a}
	if holepunch {
		c.extIDs.Holepunch = 9
	}
	c.dirty = true // nobody writes
	c.id = tor.freePeerID()
	tor.peers[c.slot()] = c
	return c
}

// punchesSent decodes what was sent to a stand-in.
func punchesSent(t *testing.T, c *peerConn) (all []wire.Holepunch) {
	t.Helper()
	buf := c.TakeUnsent()
	r := wire.NewReader(bytes.NewReader(buf), wire.Limits{Features: wire.FeatureExtension})
	for m := new(wire.Message); r.Next(m) == nil; {
		h, err := wire.ParseHolepunch(m.Payload)
		if err != nil || m.ExtID != c.extIDs.Holepunch {
			t.Fatalf("sent %d, %q: %v", m.ExtID, m.Payload, err)
		}
		all = append(all, h)
	}
	return all
}

// inPunchLoop runs f in the loop of a torrent whose uTP counts its dials.
func inPunchLoop(t *testing.T, f func(w *world, tor *Torrent, dials *counter)) {
	t.Helper()
	dials := &counter{}
	inWorld(t, 64<<10, 16<<10, Config{}, func(w *world) {
		l, err := w.us.Listen("tcp", ":1")
		if err != nil {
			t.Fatal(err)
		}
		dials.Listener = l
		w.session.cfg.UTP, w.session.endpoint.UTP = dials, dials
		defer l.Close()
		tor := w.add(TorrentConfig{})
		tor.call(func() {
			defer func() { tor.peers, tor.live = nil, 0 }()
			f(w, tor, dials)
		})
		time.Sleep(time.Minute) // dials end
	})
}

// What a relay answers: BEP 55's codes, and nothing at all to a flood.
func TestRelayAnswers(t *testing.T) {
	inPunchLoop(t, func(_ *world, tor *Torrent, _ *counter) {
		for i := range 3 { // this is where we are
			tor.known.self.vote(fmt.Sprint(i), netip.MustParseAddr("8.1.1.1"))
		}
		asker := standIn(tor, "8.2.2.1:1001", true)
		target := standIn(tor, "8.2.2.2:1002", true)
		standIn(tor, "8.2.2.3:1003", false)
		standIn(tor, "192.168.1.4:1004", true)
		mute := standIn(tor, "8.2.2.5:1005", false)
		overUTP := standIn(tor, "8.2.2.6:40000", true)
		overUTP.UTP, overUTP.listens = true, netip.MustParseAddrPort("8.2.2.6:1006")
		ask := func(c *peerConn, addr string) wire.Holepunch {
			t.Helper()
			tor.handleHolepunch(c, &wire.Holepunch{Type: wire.HolepunchRendezvous, Addr: netip.MustParseAddrPort(addr)})
			sent := punchesSent(t, c)
			if len(sent) != 1 {
				t.Fatalf("rendezvous with %s: answers %+v, want one", addr, sent)
			}
			return sent[0]
		}
		for addr, want := range map[string]wire.HolepunchError{
			"8.2.2.9:1":        wire.HolepunchNotConnected,
			"8.2.2.1:1001":     wire.HolepunchNotConnected, // the asker
			"8.2.2.3:1003":     wire.HolepunchNoSupport,
			"192.168.1.4:1004": wire.HolepunchNotConnected, // not for those outside
			"8.1.1.1:6881":     wire.HolepunchNoSelf,
			"0.0.0.0:1":        wire.HolepunchNoSuchPeer,
			"224.0.0.1:1":      wire.HolepunchNoSuchPeer,
			"8.2.2.2:0":        wire.HolepunchNoSuchPeer,
		} {
			if got := ask(asker, addr); got.Type != wire.HolepunchFailed || got.Err != want || got.Addr.String() != addr {
				t.Errorf("rendezvous with %s: %+v, want error %d", addr, got, want)
			}
		}
		if got := ask(asker, "8.2.2.2:1002"); got.Type != wire.HolepunchConnect || got.Addr != target.Addr {
			t.Errorf("the asker got %+v", got)
		}
		if got := punchesSent(t, target); len(got) != 1 || got[0].Type != wire.HolepunchConnect || got[0].Addr != asker.Addr {
			t.Errorf("the target got %+v", got)
		}
		// A peer's side of a uTP connection is where its router listens for it.
		if got := ask(asker, "8.2.2.6:1006"); got.Type != wire.HolepunchConnect || got.Addr != overUTP.Addr {
			t.Errorf("the asker got %+v", got)
		}
		tor.handleHolepunch(mute, &wire.Holepunch{Addr: target.Addr})
		if got := punchesSent(t, mute); len(got) != 0 {
			t.Errorf("who does not know the extension got %+v", got)
		}
	})
}

// A flood of rendezvous from one, and a crowd that wants the same peer, are not passed on.
func TestRelayIsNoAmplifier(t *testing.T) {
	inPunchLoop(t, func(_ *world, tor *Torrent, _ *counter) {
		asker, target := standIn(tor, "8.2.2.1:1001", true), standIn(tor, "8.2.2.2:1002", true)
		wanted := standIn(tor, "8.2.2.6:1006", true)
		for range 1000 {
			tor.handleHolepunch(asker, &wire.Holepunch{Addr: target.Addr})
		}
		if n, m := len(punchesSent(t, asker)), len(punchesSent(t, target)); n > relayBurst || m > targetBurst {
			t.Errorf("a flood of 1000: %d answers, %d to the target", n, m)
		}
		for i := range 100 { // of many, against one
			c := standIn(tor, fmt.Sprintf("8.3.3.%d:1", i+1), true)
			tor.handleHolepunch(c, &wire.Holepunch{Addr: wanted.Addr})
		}
		if n := len(punchesSent(t, wanted)); n > targetBurst {
			t.Errorf("a crowd of 100: %d messages to the target", n)
		}
	})
}

// Whom we dial at a relay's word: not the inside of a network, nobody twice, and not many.
func TestCalledByRelays(t *testing.T) {
	connect := func(addr string) *wire.Holepunch {
		return &wire.Holepunch{Type: wire.HolepunchConnect, Addr: netip.MustParseAddrPort(addr)}
	}
	var dials *counter
	inPunchLoop(t, func(w *world, tor *Torrent, d *counter) {
		dials = d
		w.session.endpoint.Blocked = func(a netip.Addr) bool { return a == netip.MustParseAddr("8.6.6.6") }
		relay, inside := standIn(tor, "8.2.2.1:1001", true), standIn(tor, "192.168.1.4:1004", true)
		standIn(tor, "8.2.2.2:1002", true)
		mute := standIn(tor, "8.2.2.3:1003", false)
		for _, addr := range []string{
			"127.0.0.1:1", "192.168.1.1:1", "[fe80::1]:1", "224.0.0.1:1", "0.0.0.0:1", "8.9.9.9:0", "8.2.2.2:1002",
		} {
			tor.handleHolepunch(relay, connect(addr))
		}
		tor.handleHolepunch(inside, connect("127.0.0.1:1"))
		tor.handleHolepunch(mute, connect("8.9.9.9:1"))
		if tor.dialing != 0 {
			t.Errorf("%d dials at the word of who may not say so", tor.dialing)
		}
		tor.handleHolepunch(inside, connect("192.168.1.9:1"))
		tor.handleHolepunch(relay, connect("8.6.6.6:1"))
		for i := range 1000 {
			tor.handleHolepunch(relay, connect(fmt.Sprintf("8.7.%d.%d:1", i/250, i%250+1)))
		}
		for i := range 200 {
			c := standIn(tor, fmt.Sprintf("8.4.4.%d:1", i+1), true)
			tor.handleHolepunch(c, connect(fmt.Sprintf("8.5.5.%d:1", i+1)))
		}
	})
	if n := dials.total(); n < calledBurst || n > allCalledBurst || dials.dials["8.6.6.6:1"] != 0 || dials.dials["192.168.1.9:1"] != 1 {
		t.Errorf("%d dials: %v", n, dials.dials)
	}
}

// An address that does not answer is asked for of each that told us of it, one
// after the other, and of nobody else.
func TestRendezvousIsAskedOfTellers(t *testing.T) {
	inPunchLoop(t, func(_ *world, tor *Torrent, _ *counter) {
		addr := netip.MustParseAddrPort("8.9.9.9:1")
		first, second := standIn(tor, "8.2.2.1:1", true), standIn(tor, "8.2.2.2:1", true)
		stranger := standIn(tor, "8.2.2.3:1", true)
		tor.cfg.MaxPeers = 0 // nobody is dialled here
		for _, c := range []*peerConn{first, second} {
			tor.hearPeers(c, []wire.PEXPeer{{Addr: addr}})
		}
		tor.known.byAddr[addr].inUse = true
		tor.handleStuck(addr)
		if sent := punchesSent(t, first); len(sent) != 1 || sent[0].Type != wire.HolepunchRendezvous || sent[0].Addr != addr {
			t.Errorf("the first was asked %+v", sent)
		}
		no := &wire.Holepunch{Type: wire.HolepunchFailed, Addr: addr, Err: wire.HolepunchNotConnected}
		tor.handleHolepunch(stranger, no) // it has no say
		if sent := punchesSent(t, second); len(sent) != 0 {
			t.Errorf("the second was asked %+v too soon", sent)
		}
		tor.handleHolepunch(first, no)
		if sent := punchesSent(t, second); len(sent) != 1 || sent[0].Addr != addr {
			t.Errorf("the second was asked %+v", sent)
		}
		tor.handleHolepunch(second, no)
		tor.handleHolepunch(second, no)
		if sent := slices.Concat(punchesSent(t, first), punchesSent(t, second), punchesSent(t, stranger)); len(sent) != 0 {
			t.Errorf("asked again: %+v", sent)
		}
	})
}
