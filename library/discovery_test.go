package library

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"torrentfs/metainfo"
	"torrentfs/swarm"
	"torrentfs/swarm/dht"
)

// startDHT runs nodes of a small DHT on loopback and returns one's address.
func startDHT(t *testing.T, n int) (boot string) {
	t.Helper()
	for i := range n {
		pc, err := net.ListenPacket("udp4", fmt.Sprintf("127.0.0.%d:0", 20+i))
		if err != nil {
			t.Skipf("no such loopback address here: %v", err)
		}
		cfg := dht.Config{IPv4: pc, Bootstrap: []string{}}
		if boot == "" {
			boot = pc.LocalAddr().String()
		} else {
			cfg.Bootstrap = []string{boot}
		}
		d, err := dht.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() { defer close(done); _ = d.Run(context.Background()) }()
		t.Cleanup(func() { d.Close(); <-done })
	}
	return boot
}

// A magnet link without tracker and peer is enough where there is a DHT.
func TestMagnetByDHTAlone(t *testing.T) {
	boot := startDHT(t, 5)
	open := func(dir string) *Library {
		l, err := Open(Config{DataDir: dir, ListenAddr: "127.0.0.1:0", Discovery: Discovery{DHT: true, DHTBootstrap: []string{boot}}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close(context.Background()) })
		return l
	}
	mi, files := testTorrent(t, "")
	seedDir := t.TempDir()
	writeFiles(t, seedDir, files)
	awaitComplete(t, addTorrent(t, open(seedDir), mi, AddOptions{}))

	l := open(t.TempDir())
	got, err := l.Resolve(deadline(t), &metainfo.Magnet{Hash: mi.Info.Hash}, ResolveOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Info.Bytes, mi.Info.Bytes) {
		t.Error("found other metadata")
	}
	awaitComplete(t, addTorrent(t, l, got, AddOptions{}))
}

// A private torrent is looked for by its trackers alone.
func TestPrivateTorrentsAreNotDiscovered(t *testing.T) {
	l := openLibrary(t, t.TempDir())
	l.discover.dht = new(dht.DHT)
	defer func() { l.discover.dht = nil }()
	hash := metainfo.InfoHash{HasV1: true}
	if r := l.newSources(hash, "", nil, true, false); len(r.others) != 0 {
		t.Errorf("private: %d other sources", len(r.others))
	}
	if r := l.newSources(hash, "", nil, false, false); len(r.others) != 1 {
		t.Errorf("public: %d other sources, want the DHT", len(r.others))
	}
}

// What the local network tells goes to the torrent that is meant, while it is there.
func TestLocalPeersAreHandedOn(t *testing.T) {
	w := make(oneSink, 1)
	l := localPeers{sinks: map[[20]byte]swarm.PeerSink{{1}: w}}
	peer := netip.MustParseAddrPort("192.168.1.7:6881")
	l.found([20]byte{2}, peer)
	l.found([20]byte{1}, peer)
	select {
	case got := <-w:
		if !slices.Equal(got, []netip.AddrPort{peer}) {
			t.Errorf("found %v", got)
		}
	case <-time.After(time.Second):
		t.Error("nothing was handed on")
	}
}
