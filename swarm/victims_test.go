package swarm

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"torrentfs/internal/simnet"
	"torrentfs/swarm/conn"
	"torrentfs/swarm/wire"
)

// How many dials of one host may fail at once, and per second: see package peers.
const hostBurst, hostRate = 16, 0.1

// victim is a host that strangers name with many ports, and that is no peer.
type victim struct {
	addrs []netip.AddrPort
	hits  atomic.Int64
}

// newVictim listens on ports of a host of its own. It closes what it takes, or keeps it and
// says nothing.
func (w *world) newVictim(ip string, silent bool) *victim {
	v := &victim{}
	h := w.net.Host(ip, simnet.Link{Delay: ms})
	for port := uint16(20); port < 20+wire.MaxPEX; port++ {
		l, err := h.Listen("tcp", fmt.Sprintf(":%d", port))
		if err != nil {
			w.t.Fatal(err)
		}
		var kept []net.Conn
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				v.hits.Add(1)
				if kept = append(kept, c); !silent {
					c.Close()
				}
			}
		}()
		w.webs = append(w.webs, func() {
			l.Close()
			<-ended
			for _, c := range kept {
				c.Close()
			}
		})
		v.addrs = append(v.addrs, netip.AddrPortFrom(netip.MustParseAddr(ip), port))
	}
	return v
}

// check counts the connections of the first minute and of five more.
func (v *victim) check(t *testing.T) {
	t.Helper()
	time.Sleep(time.Minute)
	first := v.hits.Load()
	// A dial is at most four connections: plain, encrypted, and both again by uTP.
	if most := int64(4*hostBurst + 60*hostRate); first > most {
		t.Errorf("%d connections to the victim in a minute, want %d at most", first, most)
	}
	if first == 0 {
		t.Error("nobody tried the victim")
	}
	time.Sleep(5 * time.Minute)
	if more, most := v.hits.Load()-first, int64(5*60*hostRate+4); more > most {
		t.Errorf("%d more in five minutes, want %d at most", more, most)
	}
}

// Ten peers that name fifty ports of a victim, and come back to name them again, do not
// make us flood it, whatever way they name them; who is honest is reached meanwhile.
func TestVictimsAreNotFlooded(t *testing.T) {
	for _, silent := range []bool{false, true} {
		for _, way := range []string{"pex", "tracker", "dht", "link", "search"} {
			t.Run(fmt.Sprintf("%s silent=%v", way, silent), func(t *testing.T) {
				inWorld(t, 1<<20, 64<<10, Config{MaxDownload: 16 << 10}, func(w *world) {
					v := w.newVictim("10.0.7.1", silent)
					if way == "search" {
						m, end := w.search()
						defer end()
						m.sources.Found(Introducer{Kind: ByTracker}, v.addrs)
						v.check(t)
						return
					}
					switch way {
					case "link":
						w.peers = slices.Clone(v.addrs)
					case "pex":
						for range 10 {
							opt := w.options("namer")
							opt.Have = func(int) bool { return false }
							opt.Extra = pexOf(v.addrs)
							w.serve(wan(10, 10*ms), opt)
						}
					}
					tor := w.add(TorrentConfig{Prefetch: true})
					switch way {
					case "tracker":
						tor.Found(Introducer{Kind: ByTracker, Name: "tracker.example"}, v.addrs)
					case "dht":
						tor.Found(Introducer{Kind: ByDHT}, v.addrs)
					}
					time.Sleep(10 * time.Second)
					good := w.serve(wan(10, 10*ms), w.options("good"))
					tor.Found(Introducer{Kind: ByDHT}, w.peers[len(w.peers)-1:])
					if !eventually(func() bool { return good.Record().Conns > 0 }) {
						t.Error("an honest peer is not dialled")
					}
					v.check(t)
				})
			})
		}
	}
}

// pexOf is a PEX message that names addresses.
func pexOf(addrs []netip.AddrPort) []byte {
	var p wire.PEX
	for _, a := range addrs {
		p.Added = append(p.Added, wire.PEXPeer{Addr: a})
	}
	return wire.AppendExtended(nil, conn.ExtPEX, p.Append(nil))
}

// search is a search for the world's metadata that nobody answers.
func (w *world) search() (*metadataSearch, func()) {
	m := w.session.newSearch(context.Background(), MetadataConfig{Hash: w.info.Hash})
	if err := w.session.register(m); err != nil {
		w.t.Fatal(err)
	}
	m.sources.attach(m)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = m.run()
		m.end(false)
	}()
	return m, func() {
		m.cancel()
		<-done
	}
}

// A network of two hundred clients, and fifty behind one address, are all connected at once.
func TestCrowdedNetworksAreDialledAtSpeed(t *testing.T) {
	for _, nat := range []bool{false, true} {
		t.Run(fmt.Sprintf("nat=%v", nat), func(t *testing.T) {
			inWorld(t, 256<<10, 64<<10, Config{}, func(w *world) {
				opt := w.options("leecher")
				opt.Have = func(int) bool { return false }
				n := 200
				if nat {
					n = 50
				}
				for i := range n {
					if !nat {
						w.serve(wan(10, 10*ms), opt)
						continue
					}
					h := w.host(netip.MustParseAddr("10.0.8.1"))
					l, err := h.Listen("tcp", fmt.Sprintf(":%d", 7000+i))
					if err != nil {
						t.Fatal(err)
					}
					w.peers = append(w.peers, netip.AddrPortFrom(netip.MustParseAddr("10.0.8.1"), uint16(7000+i)))
					w.serveOn(l, opt)
				}
				peers := w.peers
				w.peers = nil
				tor := w.add(TorrentConfig{MaxPeers: 250})
				tor.Found(Introducer{Kind: ByTracker}, peers)
				time.Sleep(20 * time.Second) // sixteen a second
				if got := tor.Stats().Peers; got != n {
					t.Errorf("%d of %d are connected after twenty seconds", got, n)
				}
			})
		})
	}
}
