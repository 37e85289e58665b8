package swarm

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"torrentfs/internal/simnet"
	"torrentfs/metainfo"
	"torrentfs/metainfo/bencode"
	"torrentfs/swarm/conn"
	"torrentfs/swarm/wire"
)

// privately is the same torrent with the private flag.
func privately(t *testing.T, info *metainfo.Info) *metainfo.Info {
	t.Helper()
	d, _, err := bencode.DecodeDict(info.Bytes, bencode.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	d["private"] = int64(1)
	b, err := bencode.Encode(d)
	if err != nil {
		t.Fatal(err)
	}
	private, err := metainfo.ParseInfo(b, metainfo.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return private
}

// Who knows one peer alone hears of the others from it, unless the torrent is
// private (BEP 11, 27).
func TestPeersAreExchanged(t *testing.T) {
	public, data := payload(t, 1<<20, 16<<10)
	for name, info := range map[string]*metainfo.Info{"public": public, "private": privately(t, public)} {
		synctest.Test(t, func(t *testing.T) {
			net := simnet.New(1)
			defer net.Close()
			session := func(n byte) (*Session, netip.AddrPort) {
				ip := netip.AddrFrom4([4]byte{10, 0, 1, n})
				h := net.Host(ip.String(), simnet.Link{Delay: 10 * ms, Up: mbit / 4})
				l, err := h.Listen("tcp", fmt.Sprintf(":%d", peerTCP))
				if err != nil {
					t.Fatal(err)
				}
				return NewSession(Config{Listener: l, Dialer: h, Seed: uint64(n)}), netip.AddrPortFrom(ip, peerTCP)
			}
			seed, seedAddr := session(1)
			middle, middleAddr := session(2)
			us, _ := session(3)
			defer seed.Close()
			defer middle.Close()
			defer us.Close()
			add(t, seed, TorrentConfig{Info: info, Store: fullStore(info, data)})
			add(t, middle, TorrentConfig{Info: info, Store: newMemStore(info), Peers: []netip.AddrPort{seedAddr}})
			time.Sleep(5 * time.Second)
			tor := add(t, us, TorrentConfig{Info: info, Store: newMemStore(info), Peers: []netip.AddrPort{middleAddr}})
			time.Sleep(10 * time.Second)
			heard := slices.ContainsFunc(tor.Peers(), func(p PeerStats) bool { return p.Addr.Addr() == seedAddr.Addr() })
			if heard != !info.Private {
				t.Errorf("%s: connected to the seed: %v", name, heard)
			}
		})
	}
}

// pexMessage is a PEX message of n contacts, the first of them first.
func pexMessage(first, n int, flags wire.PEXFlags) []byte {
	var p wire.PEX
	for i := range n {
		a := netip.AddrFrom4([4]byte{10, 9, byte((first + i) >> 8), byte(first + i)})
		p.Added = append(p.Added, wire.PEXPeer{Addr: netip.AddrPortFrom(a, 9), Flags: flags})
	}
	return wire.AppendExtended(nil, conn.ExtPEX, p.Append(nil))
}

// A peer that names addresses without end fills no address book.
func TestHearsayIsBounded(t *testing.T) {
	inWorld(t, 64<<10, 16<<10, Config{}, func(w *world) {
		opt := w.options("talker")
		for i := range 100 {
			opt.Extra = append(opt.Extra, pexMessage(50*i, 50, 0)...)
		}
		w.serve(simnet.Link{Delay: ms}, opt)
		tor := w.add(TorrentConfig{})
		time.Sleep(time.Second)
		if n := tor.Stats().Known; n != 1+2*wire.MaxPEX {
			t.Errorf("%d addresses known after a flood, want those of two messages", n)
		}
	})
}

// Two sides that want nothing let go of each other (BEP 21).
func TestUploadOnlySidesPart(t *testing.T) {
	inWorld(t, 64<<10, 16<<10, Config{}, func(w *world) {
		opt := w.options("partial seed")
		opt.Have = func(p int) bool { return p == 0 }
		opt.Extra = wire.AppendExtended(nil, 0, (&wire.ExtHandshake{UploadOnly: true}).Append(nil))
		w.serve(simnet.Link{Delay: ms}, opt)
		w.serve(simnet.Link{Delay: ms}, w.options("seed"))
		tor := w.add(TorrentConfig{Prefetch: true})
		w.await(tor, time.Minute)
		time.Sleep(time.Minute)
		if n := tor.Stats().Peers; n != 0 {
			t.Errorf("%d connections are kept", n)
		}
	})
}
