package swarm

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"torrentfs/internal/simnet"
	"torrentfs/metainfo"
)

// swarmOf starts sessions that hold the torrent, each on a host of its own.
func swarmOf(t *testing.T, net *simnet.Network, info *metainfo.Info, data []byte, n int, link simnet.Link) (addrs []netip.AddrPort, closeAll func()) {
	t.Helper()
	var all []*Session
	for i := range n {
		ip := netip.AddrFrom4([4]byte{10, 0, 1, byte(i + 1)})
		h := net.Host(ip.String(), link)
		l, err := h.Listen("tcp", fmt.Sprintf(":%d", peerTCP))
		if err != nil {
			t.Fatal(err)
		}
		s := NewSession(Config{Listener: l, Dialer: h, Seed: uint64(i + 1)})
		add(t, s, TorrentConfig{Info: info, Store: fullStore(info, data)})
		all = append(all, s)
		addrs = append(addrs, netip.AddrPortFrom(ip, peerTCP))
	}
	return addrs, func() {
		for _, s := range all {
			s.Close()
		}
	}
}

// A magnet's metadata comes within three round trips of the first address:
// connect, handshake, request. With it the download begins.
func TestMetadataIsFetchedInThreeRoundTrips(t *testing.T) {
	const rtt = 50 * ms
	info, data := payload(t, 3<<20, 16<<10)
	synctest.Test(t, func(t *testing.T) {
		net := simnet.New(1)
		addrs, closeAll := swarmOf(t, net, info, data, 3, simnet.Link{Delay: rtt / 2, Up: 100 * mbit})
		us := net.Host("10.0.0.1", simnet.Link{})
		s := NewSession(Config{Dialer: us, Seed: 9})
		defer net.Close()
		defer closeAll()
		defer s.Close()

		begun := time.Now()
		got, err := s.FetchMetadata(t.Context(), MetadataConfig{Hash: info.Hash, Peers: addrs})
		if err != nil || !bytes.Equal(got.Info, info.Bytes) {
			t.Fatalf("got %+v, %v; want %d bytes", got, err, len(info.Bytes))
		}
		if took := time.Since(begun); took > 3*rtt+rtt/2 {
			t.Errorf("took %v, want three round trips of %v", took, rtt)
		}
		tor := add(t, s, TorrentConfig{Info: info, Store: newMemStore(info), Metadata: got, Prefetch: true})
		select {
		case <-tor.Complete():
		case <-time.After(time.Minute):
			t.Errorf("not complete: %+v", tor.Stats())
		}
	})
}

// A large dictionary comes in parts from several peers.
func TestMetadataOfManyBlocks(t *testing.T) {
	info, data := payload(t, 16<<20, 1<<10) // 16,384 pieces: 320 KiB of hashes
	synctest.Test(t, func(t *testing.T) {
		net := simnet.New(1)
		addrs, closeAll := swarmOf(t, net, info, data, 4, simnet.Link{Delay: 10 * ms, Up: 10 * mbit})
		us := net.Host("10.0.0.1", simnet.Link{})
		s := NewSession(Config{Dialer: us, Seed: 9})
		defer net.Close()
		defer closeAll()
		defer s.Close()
		var last MetadataProgress
		got, err := s.FetchMetadata(t.Context(), MetadataConfig{
			Hash: info.Hash, Peers: addrs, Progress: func(p MetadataProgress) { last = p },
		})
		if err != nil || !bytes.Equal(got.Info, info.Bytes) {
			t.Fatalf("got %+v, %v", got, err)
		}
		defer got.Close()
		if len(got.Givers) < 2 {
			t.Errorf("all blocks came from %v", got.Givers)
		}
		if last.Size != int64(len(info.Bytes)) || last.Connected == 0 {
			t.Errorf("last progress %+v", last)
		}
	})
}

// A search without peers ends with its context, and leaves nothing.
func TestMetadataSearchEndsWithItsContext(t *testing.T) {
	info, _ := payload(t, 1<<20, 16<<10)
	synctest.Test(t, func(t *testing.T) {
		net := simnet.New(1)
		defer net.Close()
		us := net.Host("10.0.0.1", simnet.Link{})
		s := NewSession(Config{Dialer: us, Seed: 9})
		defer s.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := s.FetchMetadata(ctx, MetadataConfig{Hash: info.Hash, Peers: []netip.AddrPort{netip.MustParseAddrPort("10.0.9.9:1")}})
		if err != context.DeadlineExceeded {
			t.Errorf("ended with %v", err)
		}
	})
}
