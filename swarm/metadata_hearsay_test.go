package swarm

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"torrentfs/internal/fakepeer"
	"torrentfs/internal/simnet"
	"torrentfs/metainfo"
	"torrentfs/swarm/conn"
	"torrentfs/swarm/wire"
)

// without is a torrent whose peer serves no metadata, as one that has none yet.
func without(info *metainfo.Info) *metainfo.Info {
	bare := *info
	bare.Bytes = nil
	return &bare
}

// gossips makes a peer know PEX, no metadata, and others.
func gossips(o *fakepeer.Options, others ...netip.AddrPort) {
	o.Extensions = map[string]uint8{wire.ExtPEX: 9}
	var p wire.PEX
	for _, a := range others {
		p.Added = append(p.Added, wire.PEXPeer{Addr: a})
	}
	o.Extra = wire.AppendExtended(nil, conn.ExtPEX, p.Append(nil))
}

// fetch gets the metadata or fails the test.
func fetch(t *testing.T, s *Session, info *metainfo.Info, limit time.Duration, peers ...netip.AddrPort) *Metadata {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	md, err := s.FetchMetadata(ctx, MetadataConfig{Hash: info.Hash, Peers: peers})
	if err != nil {
		t.Fatalf("metadata: %v", err)
	}
	if !bytes.Equal(md.Info, info.Bytes) {
		t.Fatalf("metadata of %d bytes, want %d", len(md.Info), len(info.Bytes))
	}
	return md
}

// A peer that has no metadata tells of one that has it (BEP 11). Its connection
// and that one's are then the torrent's.
func TestMetadataOfAPeerThatPEXNamed(t *testing.T) {
	info, data := payload(t, 256<<10, 16<<10)
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: simnet.New(1), info: info, data: data}
		defer w.net.Close()
		seeds, closeAll := swarmOf(t, w.net, info, data, 1, simnet.Link{Delay: 10 * ms, Up: 10 * mbit})
		defer closeAll()
		opt := w.options("talker")
		opt.Have = func(int) bool { return false }
		gossips(&opt, seeds[0])
		talker := w.serveAt("10.0.3.1", simnet.Link{Delay: 10 * ms}, opt)
		defer talker.Close()
		us := NewSession(Config{Dialer: w.net.Host("10.0.0.1", simnet.Link{}), Seed: 9})
		defer us.Close()
		md := fetch(t, us, info, time.Minute, netip.MustParseAddrPort("10.0.3.1:6881"))
		tor := add(t, us, TorrentConfig{Info: info, Store: newMemStore(info), Metadata: md, Prefetch: true})
		select {
		case <-tor.Complete():
		case <-time.After(time.Minute):
			t.Errorf("not complete: %+v", tor.Stats())
		}
		if n := comings(talker, us); n != 1 {
			t.Errorf("%d connections to the one that told, want that of the search", n)
		}
	})
}

// Who comes to us while we look for metadata is asked for it.
func TestMetadataOfAPeerThatCame(t *testing.T) {
	info, data := payload(t, 256<<10, 16<<10)
	synctest.Test(t, func(t *testing.T) {
		net := simnet.New(1)
		defer net.Close()
		h := net.Host("10.0.0.1", simnet.Link{Delay: 10 * ms})
		l, err := h.Listen("tcp", fmt.Sprintf(":%d", peerTCP))
		if err != nil {
			t.Fatal(err)
		}
		us := NewSession(Config{Listener: l, Dialer: h, Seed: 9})
		defer us.Close()
		seed := NewSession(Config{Dialer: net.Host("10.0.1.1", simnet.Link{Delay: 10 * ms}), Seed: 1})
		defer seed.Close()
		them := add(t, seed, TorrentConfig{Info: info, Store: fullStore(info, data)})
		time.AfterFunc(time.Second, func() { them.Found(Introducer{}, []netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:6881")}) })
		md := fetch(t, us, info, time.Minute)
		tor := add(t, us, TorrentConfig{Info: info, Store: newMemStore(info), Metadata: md, Prefetch: true})
		select {
		case <-tor.Complete():
		case <-time.After(time.Minute):
			t.Errorf("not complete: %+v", tor.Stats())
		}
		if p := tor.Peers(); len(p) > 1 {
			t.Errorf("peers %+v, want the connection of the search alone", p)
		}
	})
}

// A link alone, whose only peer with metadata is behind a router, as we are: who
// told of it brings us together (BEP 55).
func TestMetadataThroughRouters(t *testing.T) {
	info, data := payload(t, 256<<10, 16<<10)
	for name, prefix := range map[string]string{"IPv4": "8.0.0.", "IPv6": "2001:4860::"} {
		inMeeting(t, prefix, true, func(t *testing.T, m *meeting) {
			add(t, m.seed, TorrentConfig{Info: info, Store: fullStore(info, data), Peers: []netip.AddrPort{m.relayAddr}})
			middle := add(t, m.middle, TorrentConfig{Info: without(info), Store: newMemStore(info)})
			time.Sleep(500 * ms)
			withoutPEX(middle) // the seed never hears of us
			time.Sleep(2 * time.Second)
			md := fetch(t, m.us, info, time.Minute, m.relayAddr)
			store := newMemStore(info)
			tor := add(t, m.us, TorrentConfig{Info: info, Store: store, Metadata: md, Prefetch: true})
			select {
			case <-tor.Complete():
			case <-time.After(time.Minute):
				t.Errorf("%s: not complete: %+v", name, tor.Peers())
			}
			store.check(t, data)
		})
	}
}

// What was found otherwise than by trackers is of no account once the torrent
// is known to be private (BEP 27).
func TestPrivateTorrentsTakeNothingFromTheSearch(t *testing.T) {
	public, data := payload(t, 256<<10, 16<<10)
	info := privately(t, public)
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: simnet.New(1), info: info, data: data}
		defer w.net.Close()
		seeds, closeAll := swarmOf(t, w.net, info, data, 1, simnet.Link{Delay: 10 * ms, Up: 10 * mbit})
		defer closeAll()
		opt := w.options("talker")
		gossips(&opt, seeds[0])
		talker := w.serveAt("10.0.3.1", simnet.Link{Delay: 10 * ms}, opt)
		defer talker.Close()
		h := w.net.Host("10.0.0.1", simnet.Link{})
		us := NewSession(Config{Dialer: h, Seed: 9})
		defer us.Close()
		md := fetch(t, us, info, time.Minute, netip.MustParseAddrPort("10.0.3.1:6881"))
		if len(md.kept) < 2 {
			t.Fatalf("%d connections live on, want both", len(md.kept))
		}
		tor := add(t, us, TorrentConfig{Info: info, Store: newMemStore(info), Metadata: md, Prefetch: true})
		time.Sleep(time.Minute)
		if s := tor.Stats(); s.Known != 0 || s.Peers != 0 || h.Conns() != 0 {
			t.Errorf("%d addresses, %d peers, %d connections are left", s.Known, s.Peers, h.Conns())
		}
	})
}

// serveAt starts a scripted peer at an address.
func (w *world) serveAt(ip string, link simnet.Link, opt fakepeer.Options) *fakepeer.Peer {
	w.t.Helper()
	l, err := w.net.Host(ip, link).Listen("tcp", fmt.Sprintf(":%d", peerTCP))
	if err != nil {
		w.t.Fatal(err)
	}
	p := fakepeer.New(opt)
	p.Serve(l)
	return p
}
