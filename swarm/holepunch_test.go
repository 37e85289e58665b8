package swarm

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"torrentfs/internal/simnet"
	"torrentfs/swarm/conn"
	"torrentfs/swarm/peers"
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
			withoutPEX(middle) // the seed never hears of us by PEX: both might dial at once by chance
			time.Sleep(2 * time.Second)
			store := newMemStore(info)
			tor := add(t, m.us, TorrentConfig{Info: info, Store: store, Peers: []netip.AddrPort{m.relayAddr}, Prefetch: true})
			select {
			case <-tor.Complete():
			case <-time.After(time.Minute):
			}
			got := tor.Peers()
			i := slices.IndexFunc(got, func(p PeerStats) bool { return p.Addr == m.seedAddr })
			if c.helps && !tor.pieces.allHeld.Load() || !c.helps && (i >= 0 || tor.pieces.allHeld.Load()) {
				t.Errorf("%s: complete: %v, peers %+v", c.name, tor.pieces.allHeld.Load(), got)
			}
			if i >= 0 && !got[i].UTP {
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

// withoutPEX makes a torrent tell the peers that it has of no others.
func withoutPEX(tor *Torrent) {
	tor.call(func() {
		for _, c := range tor.peers {
			if c != nil {
				tor.pool.Introduced(c.id, peers.Intro{Port: peerTCP, Holepunch: c.extIDs.Holepunch != 0})
			}
		}
	})
}

// A private torrent's peers are the tracker's alone: nobody is brought together.
func TestNoHolepunchInPrivateTorrents(t *testing.T) {
	public, _ := payload(t, 64<<10, 16<<10)
	info := privately(t, public)
	inMeeting(t, "8.0.0.", true, func(t *testing.T, m *meeting) {
		tor := add(t, m.middle, TorrentConfig{Info: info, Store: newMemStore(info)})
		c := &peer{Conn: &conn.Conn{Addr: m.seedAddr}, t: tor}
		h, err := wire.ParseExtHandshake(tor.appendExtHandshake(nil, c)[6:])
		if err != nil || h.M[wire.ExtHolepunch] != 0 {
			t.Errorf("announced: %+v, %v", h, err)
		}
	})
}
