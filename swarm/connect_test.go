package swarm

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"torrentfs/internal/simnet"
)

// Every two policies that have something in common get along, and no others:
// metadata and payload, whoever dials. Who demands encryption is reached within
// few round trips.
func TestEncryptionPolicies(t *testing.T) {
	const rtt = 50 * ms
	info, data := payload(t, 256<<10, 16<<10)
	name := map[Encryption]string{EncryptionPrefer: "prefer", EncryptionRequire: "require", EncryptionDisable: "disable"}
	for dialler := range name {
		for listener := range name {
			synctest.Test(t, func(t *testing.T) {
				net := simnet.New(1)
				defer net.Close()
				there := net.Host("10.0.1.1", simnet.Link{Delay: rtt / 2, Up: 100 * mbit})
				l, err := there.Listen("tcp", fmt.Sprintf(":%d", peerTCP))
				if err != nil {
					t.Fatal(err)
				}
				seed := NewSession(Config{Listener: l, Dialer: there, Seed: 1, Encryption: listener})
				defer seed.Close()
				add(t, seed, TorrentConfig{Info: info, Store: fullStore(info, data)})
				us := NewSession(Config{Dialer: net.Host("10.0.0.1", simnet.Link{}), Seed: 2, Encryption: dialler})
				defer us.Close()

				peers := []netip.AddrPort{netip.MustParseAddrPort("10.0.1.1:6881")}
				which := name[dialler] + " dials " + name[listener]
				store := newMemStore(info)
				tor := add(t, us, TorrentConfig{Info: info, Store: store, Peers: peers})
				r := tor.NewReader(nil)
				defer r.Close()
				possible := dialler == listener || dialler == EncryptionPrefer || listener == EncryptionPrefer
				if !possible {
					time.Sleep(time.Minute)
					if n := tor.Stats().Peers; n != 0 {
						t.Errorf("%s: %d connections", which, n)
					}
					return
				}
				begun := time.Now()
				got := make([]byte, 1000)
				if _, err := r.ReadAt(t.Context(), got, 0); err != nil || !bytes.Equal(got, data[:1000]) {
					t.Errorf("%s: read: %v", which, err)
				}
				// Plain: connect, handshake, request. MSE: one more for the keys, one for interest. Falling back: two more.
				if took := time.Since(begun); took > 7*rtt+rtt/2 {
					t.Errorf("%s: first byte after %v", which, took)
				}
				encrypted := dialler == EncryptionRequire || listener == EncryptionRequire
				if p := tor.Peers(); len(p) != 1 || p[0].Encrypted != encrypted {
					t.Errorf("%s: %+v, want it encrypted: %v", which, p, encrypted)
				}
				tor.Close()
				md, err := us.FetchMetadata(t.Context(), MetadataConfig{Hash: info.Hash, Peers: peers})
				if err != nil || !bytes.Equal(md.Info, info.Bytes) {
					t.Errorf("%s: metadata: %v", which, err)
				}
				md.Close()
			})
		}
	}
}

// Addresses on a blocklist are neither dialled nor let in.
func TestBlockedAddresses(t *testing.T) {
	blocked := func(a netip.Addr) bool {
		return a == netip.MustParseAddr("10.0.1.1") || a == netip.MustParseAddr("10.0.2.2")
	}
	inWorld(t, 64<<10, 16<<10, Config{Blocked: blocked}, func(w *world) {
		link := simnet.Link{Delay: ms}
		bad := w.serve(link, w.options("blocked")) // 10.0.1.1
		w.connect(link, w.options("blocked, too")) // 10.0.2.2
		w.serve(link, w.options("good"))
		tor := w.add(TorrentConfig{Prefetch: true})
		w.await(tor, time.Minute)
		if n := bad.Record().Conns; n != 0 {
			t.Errorf("dialled a blocked address %d times", n)
		}
		for _, p := range tor.Peers() {
			if blocked(p.Addr.Addr()) {
				t.Errorf("connected to %v", p.Addr)
			}
		}
	})
}

// From the first peer's address to the first 64 KiB of a magnet link: three
// round trips for the metadata, one more on the same connections, and the piece itself.
func TestMagnetToFirstBytes(t *testing.T) {
	const rtt = 50 * ms
	info, data := payload(t, 16<<20, 256<<10)
	synctest.Test(t, func(t *testing.T) {
		net := simnet.New(1)
		addrs, closeAll := swarmOf(t, net, info, data, 4, simnet.Link{Delay: rtt / 2, Up: 20 * mbit})
		s := NewSession(Config{Dialer: net.Host("10.0.0.1", simnet.Link{}), Seed: 9})
		defer net.Close()
		defer closeAll()
		defer s.Close()
		begun := time.Now()
		md, err := s.FetchMetadata(t.Context(), MetadataConfig{Hash: info.Hash, Peers: addrs})
		if err != nil {
			t.Fatal(err)
		}
		metadata := time.Since(begun)
		tor := add(t, s, TorrentConfig{Info: info, Store: newMemStore(info), Peers: addrs, Metadata: md, Prefetch: true})
		r := tor.NewReader(nil)
		defer r.Close()
		if _, err := r.ReadAt(t.Context(), make([]byte, 64<<10), 0); err != nil {
			t.Fatal(err)
		}
		piece := time.Duration(float64(info.PieceLength()) / (20 * mbit) * float64(time.Second))
		took := time.Since(begun)
		t.Logf("metadata after %v, 64 KiB after %v", metadata, took)
		if took > 4*rtt+piece {
			t.Errorf("64 KiB after %v, want four round trips and a piece: %v", took, 4*rtt+piece)
		}
	})
}
