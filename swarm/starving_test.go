package swarm

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"torrentfs/internal/fakepeer"
	"torrentfs/swarm/wire"
)

// How many connections one network may open to us at once, and per second: see [peers.Arrivals].
const arrivalBurst, arrivalRate = 64, 2

// harass connects to us again and again from some addresses, says something, and keeps
// the last few connections open. It ends with ctx.
func (w *world) harass(ctx context.Context, froms int, pause time.Duration, say func(c net.Conn)) (end func() (shaken int)) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	counts := make([]int, froms)
	address := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 9, byte(i), 1}) }
	for i := range froms { // before any goroutine looks for one
		w.host(address(i))
	}
	for i := range froms {
		from := address(i)
		wg.Go(func() {
			var kept []net.Conn
			defer func() {
				for _, c := range kept {
					c.Close()
				}
			}()
			for id := byte(0); ctx.Err() == nil; id++ {
				c, err := w.dial(from, id)
				if err == nil {
					counts[i]++
					c.SetDeadline(time.Now().Add(time.Second))
					say(c)
				}
				if c != nil {
					kept = append(kept, c)
				}
				if len(kept) > 5 {
					kept[0].Close()
					kept = kept[1:]
				}
				time.Sleep(pause)
			}
		})
	}
	return func() (shaken int) {
		cancel()
		wg.Wait()
		for _, n := range counts {
			shaken += n
		}
		return shaken
	}
}

// Peers that announce blocks nobody asked for, or send them, do not use up the download
// limit: an honest peer gives as much as without them.
func TestUnaskedBlocksDoNotStarve(t *testing.T) {
	const limit = 1 << 20
	for name, say := range map[string]func(c net.Conn){
		"nobody": nil,
		"headers": func(c net.Conn) {
			c.Write(append(wire.AppendHaveAll(nil), wire.AppendPieceHeader(nil, 0, 0, blockSize)...))
		},
		"blocks": func(c net.Conn) {
			c.Write(append(wire.AppendHaveAll(nil), again(20, fakepeer.Unsolicited(0, 0, make([]byte, blockSize)))...))
		},
		"headers after unchoking": func(c net.Conn) {
			b := wire.AppendUnchoke(wire.AppendHaveAll(nil))
			c.Write(append(b, wire.AppendPieceHeader(nil, 0, 0, blockSize)...))
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, 64<<20, 256<<10, Config{MaxDownload: limit}, func(w *world) {
				honest := w.serve(wan(100, 20*ms), w.options("honest"))
				tor := w.add(TorrentConfig{Prefetch: true})
				time.Sleep(5 * time.Second)
				if say != nil {
					defer w.harass(context.Background(), 8, 50*ms, say)()
				}
				before := honest.Record().Uploaded
				time.Sleep(20 * time.Second)
				if rate := float64(honest.Record().Uploaded-before) / 20; rate < 0.8*limit {
					t.Errorf("the honest peer gives %.0f bytes/s of %d; %+v", rate, limit, tor.Stats())
				}
			})
		})
	}
}

// Peers that ask, do not read and come back do not use up the upload limit.
func TestDeafPeersDoNotStarve(t *testing.T) {
	const limit = 1 << 20
	inWorld(t, 64<<20, 256<<10, Config{MaxUpload: limit}, func(w *world) {
		w.store = fullStore(w.info, w.data)
		w.add(TorrentConfig{})
		honest := w.connect(wan(100, 20*ms), w.leecher("honest"))
		time.Sleep(5 * time.Second)
		end := w.harass(context.Background(), 2, 12*ms, func(c net.Conn) {
			c.Write(append(wire.AppendInterested(nil), fakepeer.RequestFlood(200, w.info.NumPieces(), blockSize)...))
		})
		before := honest.Record().Downloaded
		time.Sleep(40 * time.Second)
		if rate := float64(honest.Record().Downloaded-before) / 40; rate < 0.6*limit {
			t.Errorf("the honest peer gets %.0f bytes/s of %d", rate, limit)
		}
		if n := end(); n > 2*(int(arrivalBurst)+45*int(arrivalRate)) {
			t.Errorf("%d connections of two addresses were taken in 40 seconds", n)
		}
	})
}

// Who connects without end from one address does not keep out others.
func TestReconnectingIsBounded(t *testing.T) {
	inWorld(t, 1<<20, 64<<10, Config{}, func(w *world) {
		w.store = fullStore(w.info, w.data)
		w.add(TorrentConfig{})
		end := w.harass(context.Background(), 1, 5*ms, func(net.Conn) {})
		time.Sleep(20 * time.Second)
		p := w.connect(wan(100, 10*ms), w.leecher("honest"))
		select {
		case <-p.Complete():
		case <-time.After(8 * time.Second):
			t.Error("the honest leecher waits")
		}
		if n, most := end(), int(arrivalBurst+30*arrivalRate); n > most {
			t.Errorf("%d connections of one address within half a minute, want %d at most", n, most)
		}
	})
}
