package swarm

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"torrentfs/internal/bitset"
	"torrentfs/internal/fakepeer"
	"torrentfs/internal/simnet"
	"torrentfs/swarm/conn"
	"torrentfs/swarm/wire"
)

// again is a message n times over.
func again(n int, message []byte) []byte { return bytes.Repeat(message, n) }

// What changes nothing, sent without end, ends the connection and nothing else.
func TestNoiseEndsTheConnection(t *testing.T) {
	const flood = 20_000
	for name, noise := range map[string]func(w *world) []byte{
		"haves it said before": func(w *world) []byte { return fakepeer.HaveFlood(flood, w.info.NumPieces()) },
		"chokes":               func(*world) []byte { return again(flood, wire.AppendUnchoke(wire.AppendChoke(nil))) },
		"interests":            func(*world) []byte { return again(flood, wire.AppendNotInterested(wire.AppendInterested(nil))) },
		"cancels":              func(*world) []byte { return again(flood, wire.AppendCancel(nil, 0, 0, 16384)) },
		"rejects":              func(*world) []byte { return again(flood, wire.AppendReject(nil, 0, 0, 16384)) },
		"allowed fasts":        func(*world) []byte { return again(flood, wire.AppendAllowedFast(nil, 0)) },
		"haves and don't-haves": func(*world) []byte {
			return again(flood, wire.AppendHave(wire.AppendDontHave(nil, conn.ExtDontHave, 1), 1))
		},
		"keep-alives":        func(*world) []byte { return again(flood, wire.AppendKeepAlive(nil)) },
		"suggestions":        func(*world) []byte { return again(flood, appendSuggest(0)) },
		"ports":              func(*world) []byte { return again(flood, wire.AppendPort(nil, 7)) },
		"have-alls":          func(*world) []byte { return again(flood, wire.AppendHaveAll(nil)) },
		"unknown extensions": func(*world) []byte { return again(flood, wire.AppendExtended(nil, 99, []byte("de"))) },
		"large extensions": func(*world) []byte {
			return again(200, wire.AppendExtended(nil, 99, make([]byte, 64<<10)))
		},
		"empty PEX messages": func(*world) []byte { return again(flood, wire.AppendExtended(nil, conn.ExtPEX, []byte("de"))) },
		"requests for metadata": func(*world) []byte {
			ask := wire.Metadata{Type: wire.MetadataRequest}
			return again(flood, wire.AppendExtended(nil, conn.ExtMetadata, ask.Append(nil)))
		},
		"bitfields": func(w *world) []byte {
			some := bitset.New(w.info.NumPieces())
			some.Set(1)
			return again(flood, wire.AppendBitfield(nil, some, w.info.NumPieces()))
		},
		"have-alls and don't-haves": func(*world) []byte {
			return again(flood, wire.AppendDontHave(wire.AppendHaveAll(nil), conn.ExtDontHave, 1))
		},
		"extension handshakes": func(*world) []byte {
			h := wire.ExtHandshake{M: map[string]uint8{wire.ExtDontHave: 3}}
			return again(flood, wire.AppendExtended(nil, 0, h.Append(nil)))
		},
		"blocks nobody asked for": func(*world) []byte {
			return again(2*maxStrikes, fakepeer.Unsolicited(0, 0, make([]byte, 16384)))
		},
		"requests while choked": func(w *world) []byte { return fakepeer.RequestFlood(1000, w.info.NumPieces(), 16384) },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, 1<<20, 64<<10, Config{}, func(w *world) {
				opt := w.options("noisy")
				opt.Extra = noise(w)
				opt.UnchokeAfter = -1
				rude := w.serve(wan(1000, 20*ms), opt)
				w.serve(wan(10, 20*ms), w.options("good"))
				tor := w.add(TorrentConfig{Prefetch: true})
				time.Sleep(10 * time.Second)
				if rec := rude.Record(); rec.Conns == 0 || rec.Open != 0 {
					t.Errorf("%d of %d connections are open", rec.Open, rec.Conns)
				}
				w.await(tor, time.Minute)
			})
		})
	}
}

// Blocks of a wrong shape end the connection before they are read.
func TestMisshapenBlocksEndTheConnection(t *testing.T) {
	for _, by := range []int{-1, -16384, 1, 100_000} {
		t.Run(fmt.Sprintf("%+d", by), func(t *testing.T) {
			inWorld(t, 1<<20, 64<<10, Config{}, func(w *world) {
				opt := w.options("misshapen")
				opt.Behaviours = []fakepeer.Behaviour{fakepeer.Resize(by)}
				rude := w.serve(wan(100, 5*ms), opt)
				w.serve(wan(10, 20*ms), w.options("good"))
				tor := w.add(TorrentConfig{Prefetch: true})
				w.await(tor, time.Minute)
				if rec := rude.Record(); rec.Conns == 0 || rec.Open != 0 {
					t.Errorf("%d of %d connections are open", rec.Open, rec.Conns)
				}
			})
		})
	}
}

// dial is a connection past the handshake that the test has all for itself.
func (w *world) dial(from netip.Addr, id byte) (net.Conn, error) {
	h := w.host(from)
	c, err := h.DialContext(context.Background(), "tcp", fmt.Sprintf("10.0.0.1:%d", peerTCP))
	if err != nil {
		return nil, err
	}
	hello := wire.NewHandshake(w.info.Hash.Wire(), [20]byte{'r', 'a', 'w', id}, wire.FeatureFast|wire.FeatureExtension)
	if _, err := c.Write(hello.Append(nil)); err != nil {
		return nil, err
	}
	_, err = wire.ReadHandshake(c)
	return c, err
}

// host is the host of an address, made when it is first asked for.
func (w *world) host(addr netip.Addr) *simnet.Host {
	if w.hosts == nil {
		w.hosts = map[netip.Addr]*simnet.Host{}
	}
	if w.hosts[addr] == nil {
		w.hosts[addr] = w.net.Host(addr.String(), simnet.Link{Delay: 5 * ms})
	}
	return w.hosts[addr]
}

// closed says whether the other side ends the connection within a time; what
// comes before that is not looked at.
func closed(c net.Conn, within time.Duration) bool {
	c.SetReadDeadline(time.Now().Add(within))
	defer c.SetReadDeadline(time.Time{})
	buf := make([]byte, 4096)
	for {
		if _, err := c.Read(buf); err != nil {
			ne, ok := err.(net.Error)
			return !ok || !ne.Timeout()
		}
	}
}

// A leecher that asks and never reads does not make us keep its answers.
func TestDeafLeecherIsDropped(t *testing.T) {
	inWorld(t, 4<<20, 64<<10, Config{}, func(w *world) {
		w.store = fullStore(w.info, w.data)
		tor := w.add(TorrentConfig{})
		c, err := w.dial(netip.MustParseAddr("10.0.3.1"), 1)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		flood := wire.AppendInterested(nil)
		flood = append(flood, fakepeer.RequestFlood(60_000, w.info.NumPieces(), 16384)...)
		go func() {
			for range 20 {
				if _, err := c.Write(flood); err != nil {
					return
				}
			}
		}()
		time.Sleep(30 * time.Second)
		if n := tor.Stats().Peers; n != 0 {
			t.Errorf("%d peers after 30 seconds", n)
		}
	})
}

// Connections that never shake hands do not keep out those that do, and end.
func TestSlowLorisAtTheDoor(t *testing.T) {
	inWorld(t, 1<<20, 64<<10, Config{MaxConns: 100}, func(w *world) {
		w.store = fullStore(w.info, w.data)
		w.add(TorrentConfig{})
		var idle []net.Conn
		for i := range 4 * maxHandshaking {
			c, err := w.host(netip.AddrFrom4([4]byte{10, 9, byte(i >> 6), byte(i&63 + 1)})).
				DialContext(context.Background(), "tcp", fmt.Sprintf("10.0.0.1:%d", peerTCP))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			idle = append(idle, c)
		}
		p := w.connect(wan(100, 10*ms), w.leecher("honest"))
		select {
		case <-p.Complete():
		case <-time.After(8 * time.Second):
			t.Errorf("the honest leecher waits behind %d idle connections", len(idle))
		}
		time.Sleep(conn.HandshakeTimeout)
		for i, c := range idle {
			if !closed(c, time.Second) {
				t.Fatalf("connection %d is still open", i)
			}
		}
	})
}

// A block that comes byte by byte does not hold up a read, nor do a peer that
// takes the connection and no more, and one that never unchokes.
func TestUrgentReadPassesTheSlow(t *testing.T) {
	for name, spoil := range map[string]func(o *fakepeer.Options){
		"trickling":         func(o *fakepeer.Options) { o.TrickleBytes, o.TrickleEvery = 1, time.Second },
		"silent":            func(o *fakepeer.Options) { o.HandshakeDelay = -1 },
		"never unchoking":   func(o *fakepeer.Options) { o.UnchokeAfter = -1 },
		"never answering":   func(o *fakepeer.Options) { o.Behaviours = []fakepeer.Behaviour{fakepeer.StallAfter(0)} },
		"rejecting all":     func(o *fakepeer.Options) { o.Behaviours = []fakepeer.Behaviour{fakepeer.RejectIf(anyBlock)} },
		"answering late":    func(o *fakepeer.Options) { o.Behaviours = []fakepeer.Behaviour{fakepeer.Late(time.Minute)} },
		"resetting":         func(o *fakepeer.Options) { o.Behaviours = []fakepeer.Behaviour{fakepeer.ResetAfter(0)} },
		"corrupting":        func(o *fakepeer.Options) { o.Behaviours = []fakepeer.Behaviour{fakepeer.Corrupt(anyBlock)} },
		"choking all along": func(o *fakepeer.Options) { o.Chokes = []time.Duration{50 * ms, 10 * time.Second} },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, 2<<20, 128<<10, Config{}, func(w *world) {
				for range 4 {
					opt := w.options(name)
					spoil(&opt)
					w.serve(wan(100, 10*ms), opt)
				}
				w.serve(wan(20, 80*ms), w.options("good"))
				tor := w.add(TorrentConfig{})
				r := tor.NewReader(nil)
				defer r.Close()
				time.Sleep(time.Second)
				for off := int64(0); off < w.info.Size(); off += 300_000 {
					if took := w.read(r, off, 1000, 5*time.Minute); took > 20*time.Second {
						t.Errorf("read at %d took %v", off, took)
					}
				}
			})
		})
	}
}

func anyBlock(fakepeer.Block) bool { return true }

// A liar that dials us comes back under another port, once; then its address
// is refused. Somebody honest behind the address of one liar is not.
func TestIncomingLiars(t *testing.T) {
	inWorld(t, 2<<20, 64<<10, Config{}, func(w *world) {
		tor := w.add(TorrentConfig{Prefetch: true})
		come := func(from string, opt fakepeer.Options) *fakepeer.Peer {
			p := fakepeer.New(w.named(opt))
			w.fakes = append(w.fakes, p)
			if err := p.Dial(context.Background(), w.host(netip.MustParseAddr(from)), fmt.Sprintf("10.0.0.1:%d", peerTCP)); err != nil {
				t.Fatal(err)
			}
			return p
		}
		liar := w.options("liar")
		liar.Have = func(i int) bool { return i < 16 }
		liar.Behaviours = []fakepeer.Behaviour{fakepeer.Corrupt(anyBlock)}
		gone := func(p *fakepeer.Peer) bool { return p.Record().Open == 0 }
		if p := come("10.0.4.1", liar); !eventually(func() bool { return gone(p) }) {
			t.Fatal("the first liar stays")
		}
		neighbour := w.options("neighbour")
		neighbour.Have = func(i int) bool { return i == 20 }
		n := come("10.0.4.1", neighbour)
		time.Sleep(5 * time.Second)
		if gone(n) || n.Record().Uploaded == 0 {
			t.Error("an honest neighbour of one liar is refused")
		}
		if p := come("10.0.4.1", liar); !eventually(func() bool { return gone(p) }) {
			t.Fatal("the second liar stays")
		}
		third := come("10.0.4.1", liar)
		time.Sleep(5 * time.Second)
		if rec := third.Record(); rec.Open != 0 || len(rec.Requests) != 0 {
			t.Errorf("the third liar is asked for %d blocks", len(rec.Requests))
		}
		honest := come("10.0.5.1", w.options("honest"))
		w.await(tor, time.Minute)
		if rec := honest.Record(); rec.Conns != 1 {
			t.Errorf("the honest one came %d times", rec.Conns)
		}
	})
}

func eventually(holds func() bool) bool {
	for range 600 {
		if holds() {
			return true
		}
		time.Sleep(100 * ms)
	}
	return false
}

// One address does not take all the places.
func TestOneAddressIsNotACrowd(t *testing.T) {
	inWorld(t, 1<<20, 64<<10, Config{}, func(w *world) {
		w.store = fullStore(w.info, w.data)
		tor := w.add(TorrentConfig{MaxPeers: 20})
		for i := range 40 {
			c, err := w.dial(netip.MustParseAddr("10.0.6.1"), byte(i))
			if err == nil {
				defer c.Close()
			}
		}
		time.Sleep(time.Second)
		if n := tor.Stats().Peers; n != 5 {
			t.Errorf("%d connections from one address, want 5 of 20", n)
		}
	})
}

// Nine peers of ten are hostile, in every way at once, and more than there are
// places: reads end, right and soon enough, the download completes, memory is
// bounded, and nobody honest is banned.
func TestHostileSwarm(t *testing.T) {
	kinds := []func(w *world, o *fakepeer.Options){
		func(_ *world, o *fakepeer.Options) { o.Behaviours = []fakepeer.Behaviour{fakepeer.Corrupt(anyBlock)} },
		func(_ *world, o *fakepeer.Options) {
			o.Behaviours = []fakepeer.Behaviour{fakepeer.Corrupt(func(b fakepeer.Block) bool { return (b.Piece+b.Begin>>14)%7 == 0 })}
		},
		func(_ *world, o *fakepeer.Options) { o.Behaviours = []fakepeer.Behaviour{fakepeer.StallAfter(3)} },
		func(_ *world, o *fakepeer.Options) { o.TrickleBytes, o.TrickleEvery = 10, 500*ms },
		func(_ *world, o *fakepeer.Options) { o.Behaviours = []fakepeer.Behaviour{fakepeer.ResetAfter(5)} },
		func(w *world, o *fakepeer.Options) { o.Extra = fakepeer.HaveFlood(20_000, w.info.NumPieces()) },
		func(w *world, o *fakepeer.Options) {
			o.Extra = fakepeer.RequestFlood(20_000, w.info.NumPieces(), 16384)
		},
		func(_ *world, o *fakepeer.Options) { o.UnchokeAfter = -1 },
		func(_ *world, o *fakepeer.Options) { o.HandshakeDelay = -1 },
		func(_ *world, o *fakepeer.Options) { o.Behaviours = []fakepeer.Behaviour{fakepeer.RejectIf(anyBlock)} },
		func(_ *world, o *fakepeer.Options) { o.Opening = fakepeer.HugeMessage() },
		func(w *world, o *fakepeer.Options) { o.Opening = fakepeer.BadBitfield(w.info.NumPieces()) },
	}
	inWorld(t, 4<<20, 128<<10, Config{}, func(w *world) {
		honest := map[netip.AddrPort]bool{}
		for i := range 60 {
			opt := w.options("peer")
			if i%10 != 9 {
				kinds[i%len(kinds)](w, &opt)
			}
			w.serve(wan(5, 40*ms), opt)
			if i%10 == 9 {
				honest[w.peers[len(w.peers)-1]] = true
			}
		}
		tor := w.add(TorrentConfig{MaxPeers: 12, Prefetch: true})
		r := tor.NewReader(nil)
		defer r.Close()
		var worst time.Duration
		for off := int64(0); off < w.info.Size(); off += 500_000 {
			worst = max(worst, w.read(r, off, 20_000, 10*time.Minute))
		}
		w.await(tor, 30*time.Minute)
		t.Logf("worst read %v, %d bytes wasted of %d", worst, tor.Stats().Wasted, w.info.Size())
		tor.call(func() {
			for addr := range honest {
				if tor.pool.Banned(addr) {
					t.Errorf("%v is honest and banned", addr)
				}
			}
		})
	})
}

// Peers that come and go by the thousand, at every stage of a connection,
// leave nothing behind.
func TestThousandsOfConnectionsLeaveNothing(t *testing.T) {
	inWorld(t, 1<<20, 64<<10, Config{}, func(w *world) {
		w.store = fullStore(w.info, w.data)
		tor := w.add(TorrentConfig{})
		rush := func(n int) {
			for i := range n {
				from := netip.AddrFrom4([4]byte{10, 7, 0, byte(i%200 + 1)})
				switch i % 4 {
				case 0: // before the handshake
					if c, err := w.host(from).DialContext(context.Background(), "tcp", fmt.Sprintf("10.0.0.1:%d", peerTCP)); err == nil {
						c.Close()
					}
				case 1: // after it
					if c, err := w.dial(from, byte(i)); err == nil {
						c.Close()
					}
				case 2: // in the middle of a message
					if c, err := w.dial(from, byte(i)); err == nil {
						c.Write([]byte{0, 0, 0, 13, 6, 0})
						c.Close()
					}
				case 3: // with requests under way
					if c, err := w.dial(from, byte(i)); err == nil {
						c.Write(append(wire.AppendInterested(nil), fakepeer.RequestFlood(100, 16, 16384)...))
						time.Sleep(20 * ms)
						c.Close()
					}
				}
			}
			time.Sleep(3 * time.Minute)
		}
		rush(400) // starts what runs for good
		before := runtime.NumGoroutine()
		rush(1500)
		if n := runtime.NumGoroutine(); n > before+3 { // the runtime starts some of its own
			t.Errorf("%d goroutines, were %d", n, before)
		}
		if n := cap(tor.peers); n > 2*tor.cfg.MaxPeers {
			t.Errorf("room for %d peers was made, %d may come", n, tor.cfg.MaxPeers)
		}
		if s := tor.Stats(); s.Peers != 0 {
			t.Errorf("%d peers are left", s.Peers)
		}
		if n := w.session.limits.Conns(); n != 0 {
			t.Errorf("%d places for connections are not given back", n)
		}
		if n := w.us.Conns(); n != 0 {
			t.Errorf("%d connections are open", n)
		}
	})
}
