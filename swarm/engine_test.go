package swarm

import (
	"context"
	"errors"
	"testing"
	"time"

	"torrentfs/internal/bitset"
	"torrentfs/internal/fakepeer"
	"torrentfs/internal/simnet"
	"torrentfs/metainfo"
	"torrentfs/swarm/conn"
	"torrentfs/swarm/wire"
)

// Five shaped seeds give at least 0.9 of the sum of their links.
func TestBulkDownloadFillsTheLinks(t *testing.T) {
	inWorld(t, 32<<20, 1<<20, Config{}, func(w *world) {
		for range 5 {
			w.serve(wan(40, 50*ms), w.options("seed"))
		}
		tor := w.add(TorrentConfig{Prefetch: true})
		took := w.await(tor, time.Minute)
		ideal := time.Duration(float64(w.info.Size()) / (5 * 40 * mbit) * 1e9)
		if took > ideal*10/9+500*ms { // the ramp costs a few round trips
			t.Errorf("took %v, the links need %v", took, ideal)
		}
		if s := tor.Stats(); s.Wasted > w.info.Size()/20 {
			t.Errorf("wasted %d bytes of %d", s.Wasted, w.info.Size())
		}
	})
}

// A first read needs few round trips: connect, handshake with interest, request.
func TestFirstReadTakesFewRoundTrips(t *testing.T) {
	const rtt = 100 * ms
	inWorld(t, 1<<20, 64<<10, Config{}, func(w *world) {
		w.serve(wan(1000, rtt), w.options("seed"))
		tor := w.add(TorrentConfig{})
		r := tor.NewReader(nil)
		defer r.Close()
		if took := w.read(r, 0, 1000, time.Minute); took > 3*rtt+rtt/2 {
			t.Errorf("first byte after %v, want three round trips of %v", took, rtt)
		}
	})
}

// A peer that closes on an eager greeting is asked again, politely.
func TestEagerGreetingFallsBack(t *testing.T) {
	inWorld(t, 256<<10, 64<<10, Config{}, func(w *world) {
		opt := w.options("old")
		opt.NoFast = true
		p := w.serve(wan(100, 20*ms), opt)
		tor := w.add(TorrentConfig{Prefetch: true})
		w.await(tor, time.Minute)
		rec := p.Record()
		if rec.Conns != 2 {
			t.Errorf("%d connections, want the eager one and a plain one; errors %v", rec.Conns, rec.Errors)
		}
		if last := len(rec.Errors); last > 1 {
			t.Errorf("the plain connection broke the protocol, too: %v", rec.Errors)
		}
	})
}

// While the background download runs, a read in another place does not wait for it.
func TestReadOvertakesTheBackground(t *testing.T) {
	inWorld(t, 64<<20, 1<<20, Config{}, func(w *world) {
		for range 5 {
			w.serve(wan(20, 40*ms), w.options("seed"))
		}
		tor := w.add(TorrentConfig{Prefetch: true})
		time.Sleep(2 * time.Second)
		r := tor.NewReader(nil)
		defer r.Close()
		// Bound: a round trip and 1 MiB over 100 Mbit/s = 124 ms.
		for _, off := range []int64{50 << 20, 20<<20 + 5, 40<<20 + 99} {
			if took := w.read(r, off, 64<<10, time.Minute); took > 400*ms {
				t.Errorf("read at %d took %v beside the background download", off, took)
			}
		}
	})
}

func TestReadEndsWithItsContext(t *testing.T) {
	inWorld(t, 1<<20, 64<<10, Config{}, func(w *world) {
		opt := w.options("mute")
		opt.Behaviours = []fakepeer.Behaviour{fakepeer.Drop(func(fakepeer.Block) bool { return true })}
		p := w.serve(wan(10, 20*ms), opt)
		tor := w.add(TorrentConfig{})
		r := tor.NewReader(nil)
		defer r.Close()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := r.ReadAt(ctx, make([]byte, 10), 500_000); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("read ended with %v", err)
		}
		time.Sleep(time.Second)
		rec := p.Record()
		if len(rec.Requests) == 0 || len(rec.Cancels) != len(rec.Requests) {
			t.Errorf("%d requests, %d of them cancelled; a reader that went wants nothing", len(rec.Requests), len(rec.Cancels))
		}
		if b := tor.Stats().Blocked; len(b) != 0 {
			t.Errorf("still blocked: %+v", b)
		}
	})
}

func TestCloseFailsWaitingReads(t *testing.T) {
	inWorld(t, 1<<20, 64<<10, Config{}, func(w *world) {
		tor := w.add(TorrentConfig{}) // nobody has it
		r := tor.NewReader(nil)
		done := make(chan error)
		go func() {
			_, err := r.ReadAt(context.Background(), make([]byte, 10), 0)
			done <- err
		}()
		time.Sleep(time.Second)
		tor.Close()
		if err := <-done; !errors.Is(err, ErrClosed) {
			t.Errorf("read ended with %v, want ErrClosed", err)
		}
		if _, err := r.ReadAt(context.Background(), make([]byte, 10), 0); !errors.Is(err, ErrClosed) {
			t.Errorf("read after Close ended with %v, want ErrClosed", err)
		}
	})
}

// Chokes, partial peers, lost connections: the download ends, and right.
func TestDownloadFromDifficultPeers(t *testing.T) {
	half := func(r int) func(int) bool { return func(i int) bool { return i%2 == r } }
	for name, script := range map[string]func(w *world) []fakepeer.Options{
		"two halves": func(w *world) []fakepeer.Options {
			a, b := w.options("even"), w.options("odd")
			a.Have, b.Have = half(0), half(1)
			return []fakepeer.Options{a, b}
		},
		"choking": func(w *world) []fakepeer.Options {
			a, b := w.options("fast"), w.options("plain")
			a.Chokes = []time.Duration{3 * time.Second, 5 * time.Second}
			b.Chokes, b.NoFast = []time.Duration{2 * time.Second, 7 * time.Second}, true
			return []fakepeer.Options{a, b}
		},
		"stalling": func(w *world) []fakepeer.Options {
			a := w.options("stalls")
			a.Behaviours = []fakepeer.Behaviour{fakepeer.StallAfter(20)}
			return []fakepeer.Options{a, w.options("good")}
		},
		"resetting": func(w *world) []fakepeer.Options {
			a := w.options("resets")
			a.Behaviours = []fakepeer.Behaviour{fakepeer.ResetAfter(30)}
			return []fakepeer.Options{a, w.options("good")}
		},
		"without extensions": func(w *world) []fakepeer.Options {
			a := w.options("bare")
			a.NoFast, a.NoExtension = true, true
			return []fakepeer.Options{a}
		},
		"rejecting": func(w *world) []fakepeer.Options {
			a := w.options("rejects")
			a.Behaviours = []fakepeer.Behaviour{fakepeer.RejectIf(func(b fakepeer.Block) bool { return b.Piece%3 == 0 })}
			return []fakepeer.Options{a, w.options("good")}
		},
		"sending twice": func(w *world) []fakepeer.Options {
			a := w.options("twice")
			a.Behaviours = []fakepeer.Behaviour{fakepeer.Twice()}
			return []fakepeer.Options{a}
		},
		"ignoring cancel": func(w *world) []fakepeer.Options {
			a, b := w.options("deaf"), w.options("deaf too")
			a.IgnoreCancel, b.IgnoreCancel = true, true
			return []fakepeer.Options{a, b}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, 6<<20+12345, 256<<10, Config{}, func(w *world) {
				for _, opt := range script(w) {
					w.serve(wan(10, 60*ms), opt)
				}
				tor := w.add(TorrentConfig{Prefetch: true})
				w.await(tor, 5*time.Minute)
			})
		})
	}
}

// One corrupt peer among honest ones is found out and banned; nobody else is,
// and no wrong byte is committed (the world's store checks that).
func TestLiarAloneIsBanned(t *testing.T) {
	inWorld(t, 8<<20, 256<<10, Config{}, func(w *world) {
		liar := w.options("liar")
		liar.Behaviours = []fakepeer.Behaviour{fakepeer.Corrupt(func(b fakepeer.Block) bool { return b.Begin == 0 })}
		bad := w.serve(wan(10, 40*ms), liar)
		var good []*fakepeer.Peer
		for range 3 {
			good = append(good, w.serve(wan(10, 40*ms), w.options("honest")))
		}
		tor := w.add(TorrentConfig{Prefetch: true})
		w.await(tor, 5*time.Minute)
		if rec := bad.Record(); rec.Open != 0 || rec.Conns > 2 {
			t.Errorf("the liar has %d connections open of %d", rec.Open, rec.Conns)
		}
		for i, p := range good {
			if rec := p.Record(); rec.Conns != 1 {
				t.Errorf("honest peer %d was connected %d times", i, rec.Conns)
			}
		}
	})
}

// What breaks the protocol ends that connection and nothing else.
func TestProtocolViolationsCloseTheConnection(t *testing.T) {
	for name, opening := range map[string]func(w *world) []byte{
		"bad bitfield":  func(w *world) []byte { return fakepeer.BadBitfield(w.info.NumPieces()) },
		"huge message":  func(w *world) []byte { return fakepeer.HugeMessage() },
		"have beyond":   func(w *world) []byte { return wire.AppendHave(nil, uint32(w.info.NumPieces())) },
		"request flood": func(w *world) []byte { return fakepeer.RequestFlood(1000, w.info.NumPieces(), 16384) },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, 2<<20+1, 64<<10, Config{}, func(w *world) {
				opt := w.options("rude")
				opt.Opening = opening(w)
				rude := w.serve(wan(10, 20*ms), opt)
				w.serve(wan(10, 20*ms), w.options("good"))
				tor := w.add(TorrentConfig{Prefetch: true})
				w.await(tor, time.Minute)
				if rec := rude.Record(); rec.Conns == 0 || rec.Open != 0 {
					t.Errorf("the rude peer has %d of %d connections open", rec.Open, rec.Conns)
				}
			})
		})
	}
}

// A leecher that dials us gets everything, with every request answered.
func TestSeedServesLeechers(t *testing.T) {
	inWorld(t, 3<<20+777, 128<<10, Config{}, func(w *world) {
		w.store = fullStore(w.info, w.data)
		tor := w.add(TorrentConfig{})
		var all []*fakepeer.Peer
		for i := range 4 {
			opt := w.leecher("leecher")
			opt.NoFast = i == 2
			opt.CancelEvery = 7 * (i % 2)
			all = append(all, w.connect(wan(50, 30*ms), opt))
		}
		for i, p := range all {
			select {
			case <-p.Complete():
			case <-time.After(2 * time.Minute):
				rec := p.Record()
				t.Fatalf("leecher %d has %d bytes of %d: %v", i, rec.Downloaded, w.info.Size(), rec.Errors)
			}
			if rec := p.Record(); rec.Wrong != 0 || len(rec.Errors) != 0 {
				t.Errorf("leecher %d: %d wrong blocks, errors %v", i, rec.Wrong, rec.Errors)
			}
		}
		if up := tor.Stats().Uploaded; up < 4*w.info.Size() {
			t.Errorf("uploaded %d, the leechers got %d", up, 4*w.info.Size())
		}
	})
}

// Only so many are unchoked at a time, and all get their turn.
func TestUnchokeSlotsAreKept(t *testing.T) {
	inWorld(t, 16<<20, 256<<10, Config{MaxUpload: 1 << 20}, func(w *world) {
		w.store = fullStore(w.info, w.data)
		tor := w.add(TorrentConfig{Slots: 2})
		var all []*fakepeer.Peer
		for range 6 {
			all = append(all, w.connect(simnet.Link{Delay: 10 * ms}, w.leecher("leecher")))
		}
		for range 30 {
			time.Sleep(20 * time.Second)
			if n := tor.Stats().Unchoking; n > 2 {
				t.Fatalf("%d peers unchoked, 2 slots", n)
			}
		}
		for i, p := range all {
			if p.Record().Downloaded == 0 {
				t.Errorf("leecher %d got nothing in ten minutes", i)
			}
		}
	})
}

// A torrent that serves nobody unchokes nobody, also a peer that is interested in the nothing it is told of: it would ask, and be
// closed for asking in vain.
func TestNoUploadUnchokesNobody(t *testing.T) {
	inWorld(t, 1<<20, 64<<10, Config{}, func(w *world) {
		w.store = fullStore(w.info, w.data)
		w.store.have.Clear(0)
		tor := w.add(TorrentConfig{NoUpload: true})
		opt := w.leecher("leecher")
		opt.Extra = wire.AppendInterested(nil)
		leecher := w.connect(simnet.Link{Delay: 10 * ms}, opt)
		time.Sleep(time.Minute)
		if r := leecher.Record(); r.Unchoked || tor.Stats().Unchoking > 0 {
			t.Errorf("unchoked %v, %d peers unchoked", r.Unchoked, tor.Stats().Unchoking)
		}
		if n := tor.Stats().Peers; n != 1 {
			t.Errorf("%d peers, want the leecher kept", n)
		}
	})
}

func TestRateLimitsHold(t *testing.T) {
	const limit = 1 << 20
	within := func(t *testing.T, what string, bytes int64, seconds float64) {
		t.Helper()
		if rate := float64(bytes) / seconds; rate > 1.05*limit || rate < 0.90*limit {
			t.Errorf("%s at %.0f bytes/s, the limit is %d", what, rate, limit)
		}
	}
	t.Run("down", func(t *testing.T) {
		inWorld(t, 64<<20, 1<<20, Config{MaxDownload: limit}, func(w *world) {
			for range 3 {
				w.serve(wan(100, 20*ms), w.options("seed"))
			}
			tor := w.add(TorrentConfig{Prefetch: true})
			time.Sleep(40 * time.Second)
			within(t, "download", tor.Stats().Downloaded, 40)
		})
	})
	t.Run("up", func(t *testing.T) {
		inWorld(t, 64<<20, 1<<20, Config{MaxUpload: limit}, func(w *world) {
			w.store = fullStore(w.info, w.data)
			tor := w.add(TorrentConfig{})
			for range 3 {
				w.connect(wan(100, 20*ms), w.leecher("leecher"))
			}
			time.Sleep(40 * time.Second)
			within(t, "upload", tor.Stats().Uploaded, 40)
		})
	})
}

// Pieces in doubt are checked: right ones are kept and not fetched, wrong ones
// are fetched; a read of them waits for the check only.
func TestDataInDoubtIsChecked(t *testing.T) {
	inWorld(t, 2<<20, 64<<10, Config{}, func(w *world) {
		copy(w.store.data, w.data)
		w.store.doubtful.SetRange(0, w.info.NumPieces())
		for _, i := range []int{3, 17} {
			w.store.data[i*64<<10+5] ^= 1
		}
		p := w.serve(wan(10, 20*ms), w.options("seed"))
		tor := w.add(TorrentConfig{Prefetch: true})
		r := tor.NewReader(nil)
		defer r.Close()
		w.read(r, 30*64<<10, 100, time.Minute)
		w.read(r, 17*64<<10, 100, time.Minute)
		w.await(tor, time.Minute)
		fetched := map[uint32]bool{}
		for _, e := range p.Record().Requests {
			fetched[e.Piece] = true
		}
		if len(fetched) != 2 || !fetched[3] || !fetched[17] {
			t.Errorf("fetched pieces %v, want 3 and 17", fetched)
		}
	})
}

// The same peer twice, ourselves, another torrent: refused, without harm.
func TestUnwelcomeConnections(t *testing.T) {
	inWorld(t, 1<<20, 64<<10, Config{}, func(w *world) {
		opt := w.options("twin")
		opt.PeerID = [20]byte{42}
		w.serve(wan(10, 20*ms), opt)
		w.serve(wan(10, 20*ms), opt)
		other := w.options("stranger")
		other.InfoHash[0] ^= 1
		w.serve(wan(10, 20*ms), other)
		w.peers = append(w.peers, conn.AddrPort(w.session.cfg.Listener.Addr()))
		tor := w.add(TorrentConfig{})
		time.Sleep(5 * time.Second)
		if s := tor.Stats(); s.Peers != 1 {
			t.Errorf("%d peers, want one of the twins alone", s.Peers)
		}
		stranger := w.connect(wan(10, 20*ms), other)
		time.Sleep(5 * time.Second)
		if rec := stranger.Record(); rec.Open != 0 {
			t.Error("a connection for a torrent that we do not have stays open")
		}
	})
}

// A network that breaks and comes back: the download goes on by itself.
func TestDownloadSurvivesPartition(t *testing.T) {
	inWorld(t, 8<<20, 256<<10, Config{}, func(w *world) {
		for range 2 {
			w.serve(wan(10, 40*ms), w.options("seed"))
		}
		tor := w.add(TorrentConfig{Prefetch: true})
		time.Sleep(time.Second)
		w.us.ResetConns()
		w.us.Partition(true)
		time.Sleep(10 * time.Minute)
		w.us.Partition(false)
		w.await(tor, 15*time.Minute)
	})
}

// aria2 sends its bitfield again in place of many haves: it adds, and the
// connection stays. Have-none after that is a lie.
func TestRepeatedBitfieldAdds(t *testing.T) {
	inWorld(t, 1<<20, 64<<10, Config{}, func(w *world) {
		opt := w.options("aria2")
		opt.Have = func(piece metainfo.Piece) bool { return piece < 4 }
		p := w.serve(wan(10, 20*ms), opt)
		tor := w.add(TorrentConfig{})
		time.Sleep(time.Second)
		all := bitset.New(w.info.NumPieces())
		all.SetRange(0, w.info.NumPieces())
		p.Say(wire.AppendBitfield(nil, all, w.info.NumPieces()))
		time.Sleep(time.Second)
		if s := tor.Stats(); s.Peers != 1 || s.Seeds != 1 {
			t.Fatalf("after a second bitfield: %+v, want one seed", s)
		}
		p.Say(wire.AppendHaveNone(nil))
		time.Sleep(time.Second)
		if rec := p.Record(); rec.Open != 0 {
			t.Error("a seed that says have-none keeps its connection")
		}
	})
}
