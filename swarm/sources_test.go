package swarm

import (
	"context"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"torrentfs/internal/simnet"
	"torrentfs/swarm/peers"
)

// curious is a source that asks at once how much lacks.
type curious struct{ left chan int64 }

func (s curious) Run(ctx context.Context, w PeerSink) error {
	select {
	case <-w.Settled():
		_, _, left := w.Totals()
		s.left <- left
	case <-ctx.Done():
	}
	return nil
}

func (curious) NeedPeers() {}

// seeding is a tenant that has everything, and knows it once it has settled.
type seeding struct{ settled chan struct{} }

func (seeding) Totals() (received, sent, left int64)                 { return 0, 0, 0 }
func (s seeding) Settled() <-chan struct{}                           { return s.settled }
func (seeding) usePool(func(p *peers.Pool, now time.Duration)) error { return ErrClosed }

// A source hears of the tenant from the beginning: a seed is not announced as one
// that lacks something.
func TestSourcesStartWithATenant(t *testing.T) {
	for range 200 { // it was a race
		src := curious{make(chan int64, 1)}
		g := newSourceGroup(nil, []PeerSource{src})
		who := seeding{make(chan struct{})}
		g.attach(who)
		close(who.settled)
		if left := <-src.left; left != 0 {
			t.Fatalf("a seed is said to lack %d bytes", left)
		}
		g.close()
	}
}

// lasting is a source that a test speaks for.
type lasting struct {
	begun chan PeerSink
	runs  atomic.Int32
	ended atomic.Bool
}

func (s *lasting) Run(ctx context.Context, w PeerSink) error {
	s.runs.Add(1)
	s.begun <- w
	<-ctx.Done()
	s.ended.Store(true)
	return nil
}

func (*lasting) NeedPeers() {}

// Sources run on from the search to the torrent, and what they find at any time is
// known to it, as is where trackers see us; but to a private one only what trackers
// named (BEP 27), and its search's sources end.
func TestSourcesGoOnFromTheSearchToTheTorrent(t *testing.T) {
	public, data := payload(t, 256<<10, 16<<10)
	for _, private := range []bool{false, true} {
		info := public
		if private {
			info = privately(t, public)
		}
		synctest.Test(t, func(t *testing.T) {
			net := simnet.New(1)
			defer net.Close()
			seeds, closeAll := swarmOf(t, net, info, data, 1, simnet.Link{Delay: 10 * ms, Up: 10 * mbit})
			defer closeAll()
			us := NewSession(Config{Dialer: net.Host("10.0.0.1", simnet.Link{}), Seed: 9})
			defer us.Close()
			src := &lasting{begun: make(chan PeerSink, 1)}
			addr := func(i byte) netip.AddrPort { return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, 9, i}), 9) }
			self := netip.MustParseAddr("10.0.0.1")
			var w PeerSink
			go func() {
				w = <-src.begun
				w.Found(Introducer{Kind: ByTracker, Name: "one"}, []netip.AddrPort{addr(1)})
				w.Found(Introducer{Kind: ByDHT}, []netip.AddrPort{addr(2)})
				w.SeenAt("one", self)
				w.Found(Introducer{Kind: ByDHT}, seeds)
			}()
			md, err := us.FetchMetadata(t.Context(), MetadataConfig{Hash: info.Hash, Sources: []PeerSource{src}})
			if err != nil {
				t.Fatal(err)
			}
			if _, _, left := w.Totals(); left == 0 {
				t.Error("nothing is said to lack before the torrent is there")
			}
			w.SeenAt("two", self)
			w.Found(Introducer{Kind: ByDHT}, []netip.AddrPort{addr(3)})
			tor := add(t, us, TorrentConfig{Info: info, Store: newMemStore(info), Sources: []PeerSource{src}, Metadata: md})
			if private {
				synctest.Wait()
				if n := src.runs.Load(); n != 2 || !src.ended.Load() {
					t.Errorf("the source ran %d times, want anew; it ended: %v", n, src.ended.Load())
				}
				if _, known := known(tor, addr(1)); !known || tor.Stats().Known != 1 {
					t.Errorf("%d addresses are known, want the one that a tracker named", tor.Stats().Known)
				}
				return
			}
			w.SeenAt("three", self)
			w.Found(Introducer{Kind: ByDHT}, []netip.AddrPort{addr(4)})
			if n := src.runs.Load(); n != 1 || src.ended.Load() {
				t.Errorf("the source ran %d times, and ended: %v", n, src.ended.Load())
			}
			for _, a := range append(slices.Clone(seeds), addr(1), addr(2), addr(3), addr(4)) {
				if _, ok := known(tor, a); !ok {
					t.Errorf("%v is not known", a)
				}
			}
			tor.call(func() {
				if got := tor.pool.Self(addr(1).Addr()); got != self {
					t.Errorf("we are at %v, as three trackers say %v", got, self)
				}
			})
			tor.Close()
			if !src.ended.Load() {
				t.Error("the source goes on without the torrent")
			}
		})
	}
}

func known(tor *Torrent, a netip.AddrPort) (due time.Duration, ok bool) {
	tor.call(func() { due, ok = tor.pool.Due(a) })
	return due, ok
}

// The sources of a search that fails, or whose result no torrent takes, end.
func TestSourcesEndWithTheSearch(t *testing.T) {
	info, data := payload(t, 256<<10, 16<<10)
	synctest.Test(t, func(t *testing.T) {
		net := simnet.New(1)
		defer net.Close()
		seeds, closeAll := swarmOf(t, net, info, data, 1, simnet.Link{Delay: 10 * ms, Up: 10 * mbit})
		defer closeAll()
		us := NewSession(Config{Dialer: net.Host("10.0.0.1", simnet.Link{}), Seed: 9})
		defer us.Close()
		for _, found := range []bool{false, true} {
			src := &lasting{begun: make(chan PeerSink, 1)}
			cfg := MetadataConfig{Hash: info.Hash, Sources: []PeerSource{src}}
			if found {
				cfg.Peers = seeds
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			md, err := us.FetchMetadata(ctx, cfg)
			cancel()
			if (err == nil) != found {
				t.Fatalf("%v: %v", found, err)
			}
			if ended := src.ended.Load(); ended == found {
				t.Errorf("metadata found: %v; the source ended: %v", found, ended)
			}
			md.Close()
			if !src.ended.Load() {
				t.Error("the source of what nobody takes goes on")
			}
		}
	})
}
