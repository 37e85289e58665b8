package announce

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// call is one announce that a fakeTransport was asked for.
type call struct {
	at    time.Duration // since the test began
	host  string
	event Event
	id    string
	ended time.Duration // since the test began
	err   error
}

func (c call) String() string {
	return strings.TrimSpace(fmt.Sprintf("%v %s %v", c.at, c.host, c.event))
}

// fakeTransport answers as its trackers say. A tracker that is not there never
// answers.
type fakeTransport struct {
	start    time.Time
	trackers map[string]func(r Request) (Response, error) // by host

	mu     sync.Mutex
	calls  []*call
	active int
	most   int // announces under way at one time
	delay  time.Duration
}

func newFake() *fakeTransport {
	return &fakeTransport{start: time.Now(), trackers: make(map[string]func(Request) (Response, error))}
}

func host(url string) string { return strings.TrimSuffix(strings.TrimPrefix(url, "udp://"), ":80") }

func (f *fakeTransport) Announce(ctx context.Context, url string, r Request, found func(Response)) (Response, error) {
	f.mu.Lock()
	c := &call{at: time.Since(f.start), host: host(url), event: r.Event, id: r.ID}
	f.calls = append(f.calls, c)
	f.active++
	f.most = max(f.most, f.active)
	answer, delay := f.trackers[host(url)], f.delay
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.active--
		f.mu.Unlock()
	}()
	if answer == nil {
		<-ctx.Done()
		return Response{}, ctx.Err()
	}
	time.Sleep(delay)
	resp, err := answer(r)
	f.mu.Lock()
	c.ended, c.err = time.Since(f.start), err
	f.mu.Unlock()
	if err == nil && found != nil {
		found(resp)
	}
	return resp, err
}

func (f *fakeTransport) Scrape(_ context.Context, url string, hashes ...[20]byte) ([]ScrapeResult, error) {
	if host(url) == "noscrape" {
		return nil, ErrNoScrape
	}
	return make([]ScrapeResult, len(hashes)), nil
}

// set replaces a tracker; a nil answer makes it silent.
func (f *fakeTransport) set(host string, answer func(Request) (Response, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.trackers[host] = answer
}

// take returns the calls so far and forgets them.
func (f *fakeTransport) take() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for _, c := range f.calls {
		out = append(out, c.String())
	}
	f.calls = nil
	return out
}

func works(Request) (Response, error) { return Response{Interval: 20 * time.Minute}, nil }
func fails(Request) (Response, error) { return Response{}, errors.New("broken") }

func udp(hosts ...string) (tier []string) {
	for _, h := range hosts {
		tier = append(tier, "udp://"+h+":80")
	}
	return tier
}

// scenario runs an announcer with tiers that are not shuffled, for as long as
// the script runs, and returns what came after its end.
func scenario(t *testing.T, f *fakeTransport, cfg Config, script func(a *Announcer)) []string {
	t.Helper()
	cfg.Transport = f
	cfg.rand = rand.New(rand.NewPCG(1, 2))
	a := New(cfg)
	for i, tier := range cfg.Trackers {
		if i < len(a.tiers) {
			slices.SortFunc(a.tiers[i], func(x, y *entry) int {
				return slices.Index(tier, x.url) - slices.Index(tier, y.url)
			})
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	synctest.Wait()
	script(a)
	f.take()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	return f.take()
}

func expect(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: announces %q, want %q", what, got, want)
	}
}

// sleep lets virtual time pass and everything settle.
func sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestOneTrackerOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.set("a", fails)
		f.set("b", works)
		f.set("c", works)
		f.set("d", works)
		cfg := Config{Trackers: [][]string{udp("a", "b", "c"), udp("d")}, oneTracker: true, longestInterval: 2 * time.Hour}
		left := scenario(t, f, cfg, func(a *Announcer) {
			expect(t, "start", f.take(), "0s a started", "0s b started")
			st := a.Status()
			if host(st[0].URL) != "b" || st[0].State != Working || st[1].State != Failed || st[2].State != Idle {
				t.Errorf("b is not promoted: %+v", st)
			}
			sleep(20*time.Minute + time.Second)
			expect(t, "after an interval", f.take(), "20m0s b")
			f.set("b", fails)
			sleep(20 * time.Minute)
			// a's back-off is over by then; it comes before c.
			expect(t, "when b fails", f.take(), "40m0s b", "40m0s a started", "40m0s c started")
		})
		slices.Sort(left)
		expect(t, "end", left, "40m1s b stopped", "40m1s c stopped")
	})
}

func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.set("c", works)
		f.set("d", works)
		cfg := Config{Trackers: [][]string{udp("a"), udp("b"), udp("c"), udp("d")}}
		left := scenario(t, f, cfg, func(a *Announcer) {
			sleep(time.Minute)
			expect(t, "a and b silent", f.take(), "0s a started", "3s b started", "6s c started")
		})
		expect(t, "end", left, "1m0s c stopped")
	})
}

func TestWholeTier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.set("a", fails)
		for _, h := range []string{"b", "c", "d", "e"} {
			f.set(h, works)
		}
		f.delay = time.Second
		cfg := Config{Trackers: [][]string{udp("a", "b", "c", "d"), udp("e")}}
		left := scenario(t, f, cfg, func(a *Announcer) {
			sleep(10 * time.Second)
			got := f.take()
			slices.Sort(got[2:])
			expect(t, "start", got, "0s a started", "1s b started", "2s c started", "2s d started")
			f.delay = 0
		})
		slices.Sort(left)
		expect(t, "end", left, "10s b stopped", "10s c stopped", "10s d stopped")
	})
}

func TestIntervals(t *testing.T) {
	tests := []struct {
		name              string
		interval, minimum time.Duration
		regular, early    time.Duration
	}{
		{"as asked", 20 * time.Minute, 10 * time.Minute, 20 * time.Minute, 10 * time.Minute},
		{"none", 0, 0, 30 * time.Minute, 5 * time.Minute},
		{"no minimum", 2 * time.Minute, 0, 2 * time.Minute, 2 * time.Minute},
		{"too short", time.Second, time.Second, time.Minute, time.Minute},
		{"too long", 48 * time.Hour, 24 * time.Hour, time.Hour, time.Hour},
		{"minimum above interval", 5 * time.Minute, 10 * time.Minute, 10 * time.Minute, 10 * time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				f.set("a", func(Request) (Response, error) {
					return Response{Interval: tt.interval, MinInterval: tt.minimum}, nil
				})
				scenario(t, f, Config{Trackers: [][]string{udp("a")}}, func(a *Announcer) {
					f.take()
					if next := a.Status()[0].Next; next.Sub(f.start) != tt.regular {
						t.Errorf("next announce planned after %v", next.Sub(f.start))
					}
					sleep(tt.regular + time.Second)
					expect(t, "regular", f.take(), fmt.Sprint(tt.regular, " a"))
					for range 3 { // insisting does not help
						a.NeedPeers()
						sleep(time.Second)
					}
					expect(t, "too early", f.take())
					sleep(tt.early - 4*time.Second)
					expect(t, "out of turn", f.take(), fmt.Sprint(tt.regular+tt.early, " a"))
				})
			})
		})
	}
}

func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.set("a", fails)
		scenario(t, f, Config{Trackers: [][]string{udp("a")}}, func(a *Announcer) {
			sleep(12 * time.Hour)
			calls := f.calls
			want := firstBackoff
			for i := 1; i < len(calls); i++ {
				gap := calls[i].at - calls[i-1].at
				if gap < want*8/10 || gap > want*12/10 {
					t.Errorf("attempt %d after %v, want about %v", i, gap, want)
				}
				want = min(2*want, time.Hour)
			}
			if n := len(calls); n < 15 || n > 25 {
				t.Errorf("%d attempts in 12 hours", n)
			}
			f.set("a", works)
			sleep(2 * time.Hour)
			if st := a.Status()[0]; st.State != Working || st.Failures != 0 || st.Err != nil {
				t.Errorf("after it came back: %+v", st)
			}
		})
	})
}

func TestRetryIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		refuse := func(e FailureError) func(Request) (Response, error) {
			return func(Request) (Response, error) { return Response{}, fmt.Errorf("announce: %w", &e) }
		}
		f.set("a", refuse(FailureError{RetryIn: 2 * time.Hour}))
		f.set("b", refuse(FailureError{RetryIn: 1000 * time.Hour}))
		f.set("c", refuse(FailureError{Never: true}))
		scenario(t, f, Config{Trackers: [][]string{udp("a"), udp("b"), udp("c")}}, func(a *Announcer) {
			sleep(23 * time.Hour)
			n := make(map[string]int)
			for _, c := range f.calls {
				n[c.host]++
			}
			if n["a"] != 12 || n["b"] != 1 || n["c"] != 1 {
				t.Errorf("announces in 23 hours: %v", n)
			}
			if st := a.Status()[2]; st.State != Disabled {
				t.Errorf("never is %v", st.State)
			}
			sleep(2 * time.Hour)
			if c := f.calls[len(f.calls)-1]; c.host == "c" {
				t.Error("never is not never")
			}
		})
	})
}

func TestCompleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.set("a", works)
		f.set("b", works)
		scenario(t, f, Config{Trackers: [][]string{udp("a"), udp("b")}}, func(a *Announcer) {
			f.take()
			sleep(time.Second)
			a.Completed()
			a.Completed()
			sleep(time.Second)
			expect(t, "completed", f.take(), "1s a completed")
			f.set("a", fails)
			sleep(20 * time.Minute)
			// b hears of the whole session in its first announce.
			expect(t, "later", f.take(), "20m1s a", "20m1s b started")
		})
	})
	synctest.Test(t, func(t *testing.T) { // an announce that was lost is made again
		f := newFake()
		f.set("a", works)
		scenario(t, f, Config{Trackers: [][]string{udp("a")}}, func(a *Announcer) {
			f.set("a", fails)
			a.Completed()
			sleep(time.Second)
			f.set("a", works)
			sleep(5 * time.Minute)
			n := 0
			for _, c := range f.calls {
				if c.event == EventCompleted {
					n++
				}
			}
			if n != 2 {
				t.Errorf("completed sent %d times, want twice: %v", n, f.take())
			}
		})
	})
}

// TestStop: farewells go to those who know us, and a silent tracker cannot hold
// up the end.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.set("a", works)
		f.set("b", fails)
		var ended time.Time
		left := scenario(t, f, Config{Trackers: [][]string{udp("b", "a", "silent")}}, func(a *Announcer) {
			sleep(time.Second)
			f.set("a", nil)
			ended = time.Now()
		})
		expect(t, "end", left, "1s a stopped")
		if took := time.Since(ended); took != 2*time.Second {
			t.Errorf("the end took %v", took)
		}
		if f.active != 0 {
			t.Errorf("%d announces still under way", f.active)
		}
	})
}

func TestPrivate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.set("b", works)
		f.set("c", works)
		cfg := Config{Trackers: [][]string{udp("a", "b"), udp("c")}, Private: true}
		left := scenario(t, f, cfg, func(a *Announcer) {
			sleep(19 * time.Minute)
			expect(t, "a silent", f.take(), "0s a started", "20s b started")
			f.set("a", works)
			f.set("b", fails)
			sleep(time.Hour)
			if st := a.Status(); host(st[0].URL) != "b" && host(st[0].URL) != "a" {
				t.Errorf("order %+v", st)
			}
			if f.most != 1 {
				t.Errorf("%d announces at one time", f.most)
			}
		})
		// Both a and b answered a "started" once.
		if len(left) != 2 || f.most > 2 {
			t.Errorf("end: %v", left)
		}
	})
}

func TestAnswersArePassedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		ip := netip.MustParseAddr("203.0.113.7")
		f.set("a", func(r Request) (Response, error) {
			return Response{
				Peers: addrs("1.2.3.4:5"), ExternalIP: ip, ID: "the id", Warning: "old client",
				Seeders: 7, Leechers: -1, Interval: time.Minute,
			}, nil
		})
		var found []string
		var external netip.Addr
		cfg := Config{
			Trackers:   [][]string{udp("a"), {"udp://noscrape:80"}},
			Found:      func(tracker string, peers []netip.AddrPort) { found = append(found, fmt.Sprint(tracker, peers)) },
			ExternalIP: func(_ string, addr netip.Addr) { external = addr },
		}
		scenario(t, f, cfg, func(a *Announcer) {
			if !slices.Equal(found, []string{"udp://a:80[1.2.3.4:5]"}) || external != ip {
				t.Errorf("found %v, external %v", found, external)
			}
			st := a.Status()[0]
			if st.Seeders != 7 || st.Leechers != -1 || st.Peers != 1 || st.Warning != "old client" {
				t.Errorf("status %+v", st)
			}
			sleep(time.Minute)
			if id := f.calls[1].id; id != "the id" {
				t.Errorf("tracker id sent back as %q", id)
			}
			if res := a.Scrape(t.Context()); len(res) != 1 || res[0].Err != nil {
				t.Errorf("scrape %+v", res)
			}
		})
	})
}

// nobody trusts no host.
func nobody(string) bool { return false }

func TestBuildTiers(t *testing.T) {
	orders := make(map[string]bool)
	for seed := range uint64(200) {
		tiers, left := buildTiers([][]string{
			{"udp://a:1", " udp://b:1 ", "udp://c:1", "udp://a:1", ""},
			{"wss://x/announce", "http://x.i2p/announce"},
			{"udp://a:1", "http://d/announce"},
		}, nobody, rand.New(rand.NewPCG(seed, 0)))
		if len(tiers) != 2 || len(tiers[0]) != 3 || len(tiers[1]) != 1 || tiers[1][0].tier != 2 || len(left) != 5 {
			t.Fatalf("tiers %v, left out %v", tiers, left)
		}
		orders[tiers[0][0].url+tiers[0][1].url+tiers[0][2].url] = true
	}
	if len(orders) != 6 {
		t.Errorf("%d orders of 3 trackers", len(orders))
	}
	var many []string
	for i := range 10_000 {
		many = append(many, fmt.Sprintf("udp://t%d:1", i))
	}
	if tiers, _ := buildTiers([][]string{many}, nobody, rand.New(rand.NewPCG(0, 0))); len(tiers[0]) != maxTrackers {
		t.Errorf("%d trackers of one torrent", len(tiers[0]))
	}
}

// TestNoTrackers: an announcer with nothing to do still ends when it is told.
func TestNoTrackers(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a := New(Config{})
	if err := a.Run(ctx); err != nil {
		t.Error(err)
	}
	if s := a.Status(); len(s) != 0 {
		t.Errorf("status %v", s)
	}
}

// TestAnnouncesAreBounded: for any answers of trackers, none is announced to, but for an event,
// before the shortest interval has passed since its answer, or the back-off since its failure;
// "started" comes first, "completed" is answered once, and a private torrent has one announce under
// way at a time.
func TestAnnouncesAreBounded(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		private := rapid.Bool().Draw(rt, "private")
		sizes := rapid.SliceOfN(rapid.IntRange(1, 3), 1, 3).Draw(rt, "tiers")
		seed := rapid.Uint64().Draw(rt, "seed")
		synctest.Test(t, func(t *testing.T) {
			f := newFake()
			var tiers [][]string
			n := 0
			for _, size := range sizes {
				var tier []string
				for range size {
					h := fmt.Sprint("t", n)
					n++
					rnd := rand.New(rand.NewPCG(seed, uint64(n)))
					f.set(h, func(Request) (Response, error) {
						switch rnd.IntN(4) {
						case 0:
							return fails(Request{})
						case 1:
							time.Sleep(time.Duration(rnd.IntN(10)) * time.Second)
						}
						return Response{Interval: time.Duration(rnd.IntN(3000)) * time.Second}, nil
					})
					tier = append(tier, udp(h)...)
				}
				tiers = append(tiers, tier)
			}
			var calls []*call
			scenario(t, f, Config{Trackers: tiers, Private: private}, func(a *Announcer) {
				rnd := rand.New(rand.NewPCG(seed, 0))
				for range 60 {
					switch rnd.IntN(8) {
					case 0:
						a.Completed()
					case 1, 2:
						a.NeedPeers()
					}
					sleep(time.Duration(rnd.IntN(300)) * time.Second)
				}
				calls = slices.Clone(f.calls)
				if private && f.most > 1 {
					rt.Fatalf("%d announces at one time for a private torrent", f.most)
				}
			})
			last, completed := make(map[string]*call), make(map[string]bool)
			for _, c := range calls {
				prev := last[c.host]
				if last[c.host] = c; prev == nil {
					if c.event != EventStarted {
						rt.Fatalf("first announce is %v", c)
					}
					continue
				}
				pause := firstBackoff * 8 / 10
				if prev.err == nil {
					pause = time.Minute
				}
				if c.at-prev.ended < pause && (c.event != EventCompleted || prev.err != nil) {
					rt.Fatalf("%v after %v (%v)", c, prev, prev.err)
				}
				if c.event == EventCompleted {
					if completed[c.host] {
						rt.Fatalf("%v after it was answered", c)
					}
					completed[c.host] = c.err == nil
				}
			}
			if len(calls) == 0 {
				rt.Fatal("no announces")
			}
		})
	})
}

// A torrent that was complete and lacks pieces announces it at once, before the tracker's intervals
// have passed: it was told of no seeds. If that comes again it waits for them.
func TestIncompleteIsSaidAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.set("a", func(Request) (Response, error) {
			return Response{Interval: 30 * time.Minute, MinInterval: 10 * time.Minute}, nil
		})
		f.set("b", fails)
		scenario(t, f, Config{Trackers: [][]string{udp("a"), udp("b")}}, func(a *Announcer) {
			sleep(time.Second)
			expect(t, "start", f.take(), "0s a started")
			a.Incomplete() // just after an announce
			sleep(10 * time.Second)
			expect(t, "soon after the first", f.take(), "5s a")
			a.Incomplete()
			sleep(5 * time.Minute)
			expect(t, "again", f.take())
			sleep(6 * time.Minute)
			expect(t, "as soon as the tracker allows", f.take(), "10m5s a")
			a.Incomplete()
			sleep(time.Second)
			expect(t, "after a while", f.take(), "11m11s a")
		})
	})
}
