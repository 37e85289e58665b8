package swarm

import (
	"bytes"
	"context"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"torrentfs/internal/bitset"
	"torrentfs/internal/fakepeer"
	"torrentfs/internal/simnet"
	"torrentfs/metainfo"

	"torrentfs/swarm/conn"
	"torrentfs/swarm/wire"
)

// handover is a search with one seed that gives the metadata and nothing else,
// after a while, and one peer that has the payload and no metadata.
type handover struct {
	*world
	peer   *fakepeer.Peer
	us     *Session
	host   *simnet.Host
	giver  netip.AddrPort
	holder netip.AddrPort
}

func inHandover(t *testing.T, size, pieceLength int, link simnet.Link, shape func(*fakepeer.Options), f func(t *testing.T, h *handover)) {
	t.Helper()
	info, data := payload(t, size, pieceLength)
	synctest.Test(t, func(t *testing.T) {
		h := &handover{world: &world{t: t, net: simnet.New(1), info: info, data: data}}
		defer h.net.Close()
		g := h.net.Host("10.0.2.1", simnet.Link{Delay: 10 * ms})
		l, err := g.Listen("tcp", ":6881")
		if err != nil {
			t.Fatal(err)
		}
		giver := NewSession(Config{Listener: l, Dialer: g, Seed: 1})
		defer giver.Close()
		add(t, giver, TorrentConfig{Info: info, Store: newMemStore(info), NoUpload: true})
		opt := h.options("holder")
		gossips(&opt)
		if shape != nil {
			shape(&opt)
		}
		h.giver, h.holder = netip.MustParseAddrPort("10.0.2.1:6881"), netip.MustParseAddrPort("10.0.3.1:6881")
		h.peer = h.serveAt("10.0.3.1", link, opt)
		defer h.peer.Close()
		h.host = h.net.Host("10.0.0.1", simnet.Link{})
		h.us = NewSession(Config{Dialer: h.host, Seed: 9})
		defer h.us.Close()
		f(t, h)
	})
}

// search fetches the metadata. Its giver is known only after a while, and what is done meanwhile.
func (h *handover) search(after time.Duration, meanwhile func()) *Metadata {
	h.t.Helper()
	src := make(lateSource, 1)
	go func() {
		time.Sleep(after)
		if meanwhile != nil {
			meanwhile()
		}
		src <- []netip.AddrPort{h.giver}
	}()
	md, err := h.us.FetchMetadata(h.t.Context(), MetadataConfig{
		Hash: h.info.Hash, Peers: []netip.AddrPort{h.holder}, Sources: []PeerSource{src},
	})
	if err != nil || !bytes.Equal(md.Info, h.info.Bytes) {
		h.t.Fatalf("metadata: %+v, %v", md, err)
	}
	return md
}

// comings is how many connections a session made to a scripted peer.
func comings(to *fakepeer.Peer, of *Session) (n int) {
	for _, shake := range to.Record().Handshakes {
		if shake.PeerID == of.peerID {
			n++
		}
	}
	return n
}

// What a peer said before the metadata was there counts: its bitfield, what it
// got since, that it lets us download. The payload comes by the same connection.
func TestWhatPeersSaidBeforeTheMetadata(t *testing.T) {
	partial := func(o *fakepeer.Options) { o.Have = func(p int) bool { return p%2 == 0 } }
	for name, c := range map[string]struct {
		shape     func(*fakepeer.Options)
		meanwhile func(h *handover)
		want      int // pieces
	}{
		"have all": {nil, nil, 16},
		"bitfield": {partial, nil, 8},
		"haves":    {partial, func(h *handover) { h.peer.Announce(1) }, 9},
		"no fast extension": {func(o *fakepeer.Options) {
			o.NoFast = true
			partial(o)
		}, nil, 8},
		"unchoked late": {func(o *fakepeer.Options) { o.UnchokeAfter = 5 * time.Second }, nil, 16},
		"choked again":  {func(o *fakepeer.Options) { o.Chokes = []time.Duration{200 * ms, 4 * time.Second} }, nil, 16},
	} {
		inHandover(t, 256<<10, 16<<10, simnet.Link{Delay: 10 * ms}, c.shape, func(t *testing.T, h *handover) {
			md := h.search(time.Second, func() {
				if c.meanwhile != nil {
					c.meanwhile(h)
					time.Sleep(100 * ms)
				}
			})
			conns := comings(h.peer, h.us)
			store := newMemStore(h.info)
			tor := add(t, h.us, TorrentConfig{Info: h.info, Store: store, Metadata: md, Prefetch: true})
			time.Sleep(30 * time.Second)
			if got := bitset.Set(tor.Held()).Count(); got != c.want {
				t.Errorf("%s: %d pieces came, want %d", name, got, c.want)
			}
			if n := comings(h.peer, h.us); n != conns {
				t.Errorf("%s: %d connections, %d after the search", name, n, conns)
			}
			store.check(t, h.data)
		})
	}
}

// The search ends in the middle of a message: the torrent reads the rest of it.
func TestHandoverWithinAMessage(t *testing.T) {
	shape := func(o *fakepeer.Options) { o.Have = func(p int) bool { return p != 7 } }
	link := simnet.Link{Delay: 10 * ms, Up: 4000} // a bitfield of 8 KiB takes two seconds
	inHandover(t, 64<<20, 1<<10, link, shape, func(t *testing.T, h *handover) {
		md := h.search(time.Second, nil)
		i := slices.IndexFunc(md.kept, func(k *searchPeer) bool { return k.Addr == h.holder })
		if i < 0 {
			t.Fatal("the connection was not kept")
		}
		if n := md.kept[i].Kept(); n < 4<<10 || n >= 8<<10 {
			t.Fatalf("%d bytes came before, want a part of the bitfield", n)
		}
		tor := add(t, h.us, TorrentConfig{Info: h.info, Store: newMemStore(h.info), Metadata: md})
		time.Sleep(5 * time.Second)
		tor.call(func() {
			c := tor.peerAt(h.holder)
			if c == nil || c.remoteCount != h.info.NumPieces()-1 || c.remote.Has(7) {
				t.Errorf("the bitfield is wrong: %+v", c)
			}
		})
	})
}

// Who sends more before the metadata is there than anybody has to say is not
// kept, nor what it said; others are not harmed.
func TestFloodBeforeTheMetadata(t *testing.T) {
	haves := func(n int) (b []byte) {
		for i := range n {
			b = wire.AppendHave(b, uint32(i))
		}
		return b
	}
	fields := bytes.Repeat(wire.AppendBitfield(nil, nil, wire.MaxPieces), 3)
	for name, flood := range map[string][]byte{
		"haves":      haves(conn.MaxNoise + 1000),
		"bitfields":  fields,
		"handshakes": bytes.Repeat(wire.AppendExtended(nil, 0, (&wire.ExtHandshake{}).Append(nil)), conn.MaxNoise+1000),
	} {
		shape := func(o *fakepeer.Options) { o.Extra = append(o.Extra, flood...) }
		inHandover(t, 256<<10, 16<<10, simnet.Link{Delay: 10 * ms}, shape, func(t *testing.T, h *handover) {
			md := h.search(2*time.Second, nil)
			defer md.Close()
			if slices.ContainsFunc(md.kept, func(k *searchPeer) bool { return k.Addr == h.holder }) {
				t.Errorf("%s: the connection is kept", name)
			}
			for _, k := range md.kept {
				if k.Kept() > conn.MaxReplay {
					t.Errorf("%s: %d bytes are kept", name, k.Kept())
				}
			}
		})
	}
}

// A bitfield that cannot be the torrent's ends the connection, as it would have
// ended it later.
func TestLiesBeforeTheMetadata(t *testing.T) {
	for name, opening := range map[string][]byte{
		"too long": wire.AppendBitfield(nil, nil, 1000),
		"have":     append(wire.AppendHaveNone(nil), wire.AppendHave(nil, 1000)...),
	} {
		shape := func(o *fakepeer.Options) { o.Opening = opening }
		inHandover(t, 256<<10, 16<<10, simnet.Link{Delay: 10 * ms}, shape, func(t *testing.T, h *handover) {
			md := h.search(time.Second, nil)
			tor := add(t, h.us, TorrentConfig{Info: h.info, Store: newMemStore(h.info), Metadata: md})
			time.Sleep(time.Second)
			tor.call(func() {
				if tor.peerAt(h.holder) != nil {
					t.Errorf("%s: still connected", name)
				}
			})
		})
	}
}

// What no torrent takes is closed, also where the torrent is another one or there already.
func TestMetadataThatNobodyTakes(t *testing.T) {
	other, _ := payload(t, 64<<10, 16<<10)
	inHandover(t, 256<<10, 16<<10, simnet.Link{Delay: 10 * ms}, nil, func(t *testing.T, h *handover) {
		for name, use := range map[string]func(md *Metadata){
			"closed": func(md *Metadata) { md.Close() },
			"another torrent": func(md *Metadata) {
				add(t, h.us, TorrentConfig{Info: other, Store: newMemStore(other), Metadata: md}).Close()
			},
			"there already": func(md *Metadata) {
				tor := add(t, h.us, TorrentConfig{Info: h.info, Store: newMemStore(h.info)})
				if _, err := h.us.Add(TorrentConfig{Info: h.info, Store: newMemStore(h.info), Metadata: md}); err == nil {
					t.Error("added twice")
				}
				tor.Close()
			},
		} {
			md := h.search(time.Second, nil)
			if len(md.kept) == 0 {
				t.Errorf("%s: no connection was kept", name)
			}
			use(md)
			if n := h.host.Conns(); n != 0 || h.us.limits.Conns() != 0 {
				t.Errorf("%s: %d connections, %d places are taken", name, n, h.us.limits.Conns())
			}
		}
	})
}

// lateSource hands on what it is told.
type lateSource chan []netip.AddrPort

func (s lateSource) Run(ctx context.Context, w PeerSink) error {
	for {
		select {
		case a := <-s:
			w.Found(Introducer{Kind: ByTracker}, a)
		case <-ctx.Done():
			return nil
		}
	}
}

func (lateSource) NeedPeers() {}

// A hybrid's peers are asked by BEP 52's rules, whichever of its hashes the link
// names: else no block could be proven by itself.
func TestHandoverOfHybrids(t *testing.T) {
	mi, data := content(t, metainfo.Hybrid, 64<<10, 1<<20)
	both := mi.Info.Hash
	v1, v2 := both, both
	v1.HasV2, v1.V2 = false, metainfo.SHA256{}
	v2.HasV1, v2.V1 = false, metainfo.SHA1{}
	for name, c := range map[string]struct {
		hash metainfo.InfoHash
		kept bool
	}{"v1": {v1, false}, "v2": {v2, true}, "both": {both, true}} {
		synctest.Test(t, func(t *testing.T) {
			net := simnet.New(1)
			defer net.Close()
			h := net.Host("10.0.1.1", simnet.Link{Delay: 10 * ms})
			l, err := h.Listen("tcp", ":6881")
			if err != nil {
				t.Fatal(err)
			}
			seed := NewSession(Config{Listener: l, Dialer: h, Seed: 1})
			defer seed.Close()
			add(t, seed, TorrentConfig{Info: mi.Info, PieceLayers: mi.PieceLayers, Store: fullStore(mi.Info, data)})
			us := NewSession(Config{Dialer: net.Host("10.0.0.1", simnet.Link{}), Seed: 9})
			defer us.Close()
			md, err := us.FetchMetadata(t.Context(), MetadataConfig{Hash: c.hash, Peers: []netip.AddrPort{netip.MustParseAddrPort("10.0.1.1:6881")}})
			if err != nil {
				t.Fatal(err)
			}
			store := newMemStore(mi.Info)
			tor := add(t, us, TorrentConfig{Info: mi.Info, Store: store, Metadata: md})
			var begun time.Time
			tor.call(func() {
				if c := tor.peerAt(netip.MustParseAddrPort("10.0.1.1:6881")); c != nil {
					begun = c.since
				}
			})
			if kept := !begun.IsZero(); kept != c.kept {
				t.Errorf("%s: the connection goes on: %v", name, kept)
			}
			r := tor.NewReader(nil)
			defer r.Close()
			if _, err := r.ReadAt(t.Context(), make([]byte, 1000), 0); err != nil {
				t.Fatal(err)
			}
			tor.call(func() {
				if c := tor.peerAt(netip.MustParseAddrPort("10.0.1.1:6881")); c == nil || !c.v2 {
					t.Errorf("%s: no connection by v2: %+v", name, c)
				}
			})
			store.check(t, data)
		})
	}
}

// Who turns out to have everything wants nothing any more, and says so.
func TestInterestIsTakenBack(t *testing.T) {
	shape := func(o *fakepeer.Options) { o.Have = func(int) bool { return false } }
	inHandover(t, 256<<10, 16<<10, simnet.Link{Delay: 10 * ms}, shape, func(t *testing.T, h *handover) {
		md := h.search(time.Second, nil)
		add(t, h.us, TorrentConfig{Info: h.info, Store: fullStore(h.info, h.data), Metadata: md})
		time.Sleep(time.Second)
		if heard := h.peer.Record().Messages; heard[wire.Interested] == 0 || heard[wire.NotInterested] == 0 {
			t.Errorf("the peer heard %v, want that we are interested, and then not", heard)
		}
	})
}
