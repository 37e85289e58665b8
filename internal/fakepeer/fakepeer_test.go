package fakepeer

import (
	"bytes"
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"torrentfs/internal/simnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	ms        = time.Millisecond
	pieceLen  = 64 << 10
	numPieces = 10
	size      = (numPieces-1)*pieceLen + 20_000 // the last piece is short
	port      = ":6881"
)

var (
	infoHash = [20]byte{1, 2, 3}
	content  = func() []byte {
		b := make([]byte, size)
		for i := range b {
			b[i] = byte(i*31 + i>>8)
		}
		return b
	}()
)

func torrent(name string) Options {
	return Options{
		InfoHash: infoHash, Name: name, Size: size, PieceLength: pieceLen,
		Content: bytes.NewReader(content),
	}
}

func leecher(name string) Options {
	opt := torrent(name)
	opt.Have = func(int) bool { return false }
	for i := range numPieces {
		opt.Want = append(opt.Want, i)
	}
	return opt
}

// serve starts a peer that listens on a host.
func serve(t *testing.T, h *simnet.Host, opt Options) *Peer {
	t.Helper()
	l, err := h.Listen("tcp", port)
	if err != nil {
		t.Fatal(err)
	}
	p := New(opt)
	t.Cleanup(p.Close)
	p.Serve(l)
	return p
}

// dial connects a new peer to others.
func dial(t *testing.T, h *simnet.Host, opt Options, to ...*simnet.Host) *Peer {
	t.Helper()
	p := New(opt)
	t.Cleanup(p.Close)
	for _, o := range to {
		if err := p.Dial(t.Context(), h, o.Addr().String()+port); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// clean fails if a well-behaved peer saw something wrong.
func clean(t *testing.T, name string, r Record) {
	t.Helper()
	if len(r.Errors) > 0 || r.Wrong+r.Unasked+r.Invalid+r.WhileChoked+r.OverReqq > 0 {
		t.Errorf("%s: errors %v, wrong %d, unasked %d, invalid %d, while choked %d, over reqq %d",
			name, r.Errors, r.Wrong, r.Unasked, r.Invalid, r.WhileChoked, r.OverReqq)
	}
}

func TestDownload(t *testing.T) {
	for name, change := range map[string]func(seed, leech *Options){
		"plain":        func(_, _ *Options) {},
		"no fast":      func(s, _ *Options) { s.NoFast = true },
		"no extension": func(_, l *Options) { l.NoExtension = true },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := simnet.New(1)
				defer n.Close()
				so, lo := torrent("seed"), leecher("leech")
				so.UploadRate = 100_000
				change(&so, &lo)
				a, b := n.Host("10.0.0.1", simnet.Link{Delay: 5 * ms}), n.Host("10.0.0.2", simnet.Link{Delay: 5 * ms})
				start := time.Now()
				seed := serve(t, a, so)
				leech := dial(t, b, lo, a)
				<-leech.Complete()
				if took := time.Since(start); took < 5800*ms || took > 6500*ms {
					t.Errorf("%d bytes at 100 kB/s took %v", size, took)
				}
				sr, lr := seed.Record(), leech.Record()
				clean(t, "seed", sr)
				clean(t, "leech", lr)
				if sr.Uploaded != size || lr.Downloaded != size || len(lr.Blocks) != len(sr.Requests) {
					t.Errorf("uploaded %d, downloaded %d of %d, %d blocks for %d requests",
						sr.Uploaded, lr.Downloaded, size, len(lr.Blocks), len(sr.Requests))
				}
				if sr.Handshakes[0].InfoHash != infoHash || !sr.Interested || !lr.Unchoked {
					t.Errorf("record: %+v", sr)
				}
				if lr.HaveAll == so.NoFast {
					t.Error("a seed says have all exactly where fast is negotiated")
				}
				if got := len(sr.ExtHandshakes) == 1; got == lo.NoExtension {
					t.Errorf("extension handshakes: %+v", sr.ExtHandshakes)
				} else if got && (lr.ExtHandshakes[0].V != "seed" || lr.ExtHandshakes[0].Reqq != 250) {
					t.Errorf("extension handshake: %+v", lr.ExtHandshakes[0])
				}
				if err := seed.Wait(t.Context(), func(r *Record) bool { return len(r.Haves) == numPieces }); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestRelay: partial seeds together have everything, and a leecher passes on
// what it got.
func TestRelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		defer n.Close()
		var hosts []*simnet.Host
		for _, addr := range []string{"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"} {
			hosts = append(hosts, n.Host(addr, simnet.Link{Up: 1_000_000, Delay: 5 * ms}))
		}
		even, odd := torrent("even"), torrent("odd")
		even.Have = func(i int) bool { return i%2 == 0 }
		odd.Have = func(i int) bool { return i%2 == 1 }
		serve(t, hosts[0], even)
		serve(t, hosts[1], odd)
		middle := serve(t, hosts[2], leecher("middle"))
		last := dial(t, hosts[3], leecher("last"), hosts[2])
		for _, h := range hosts[:2] {
			if err := middle.Dial(t.Context(), hosts[2], h.Addr().String()+port); err != nil {
				t.Fatal(err)
			}
		}
		<-last.Complete()
		<-middle.Complete()
		clean(t, "middle", middle.Record())
		clean(t, "last", last.Record())
	})
}

func TestWaitEnds(t *testing.T) {
	p := New(torrent("alone"))
	defer p.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Wait(ctx, func(*Record) bool { return false }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestLeecherAgainstBadSeed: the leecher counts what is wrong, asks again, and
// survives a lost connection.
func TestLeecherAgainstBadSeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		defer n.Close()
		a, b := n.Host("10.0.0.1", simnet.Link{Delay: 5 * ms}), n.Host("10.0.0.2", simnet.Link{Delay: 5 * ms})
		first := func(k int) Behaviour {
			return func(a *Answer) {
				switch {
				case a.N < k:
					a.Data[0] ^= 1
				case a.N < 2*k:
					a.Copies = 2
				case a.N < 3*k:
					a.Reject = true
				}
			}
		}
		so := torrent("seed")
		so.Behaviours = []Behaviour{first(5)}
		serve(t, a, so)
		lo := leecher("leech")
		lo.CancelEvery = 9
		leech := dial(t, b, lo, a)
		if err := leech.Wait(t.Context(), func(r *Record) bool { return len(r.Blocks) >= 20 }); err != nil {
			t.Fatal(err)
		}
		leech.Disconnect()
		if err := leech.Dial(t.Context(), b, "10.0.0.1"+port); err != nil {
			t.Fatal(err)
		}
		<-leech.Complete()
		r := leech.Record()
		if r.Wrong != 5 || r.Unasked == 0 || len(r.Rejects) < 5 || r.Conns != 2 {
			t.Errorf("%d wrong, %d unasked, %d rejects, %d connections", r.Wrong, r.Unasked, len(r.Rejects), r.Conns)
		}
	})
}

// TestTCP is the same over a socket.
func TestTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	seed := New(torrent("seed"))
	defer seed.Close()
	seed.Serve(l)
	leech := New(leecher("leech"))
	defer leech.Close()
	if err := leech.Dial(t.Context(), new(net.Dialer), l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	<-leech.Complete()
	clean(t, "leech", leech.Record())
	clean(t, "seed", seed.Record())
	leech.Close()
	leech.Close()
	if err := leech.Dial(t.Context(), new(net.Dialer), l.Addr().String()); err != nil {
		t.Error(err) // it connects, and is closed at once
	}
}
