package portmap

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeGateway is a router in memory.
type fakeGateway struct {
	name    string
	shift   uint16 // external ports are so much above the wish
	granted time.Duration

	mu     sync.Mutex
	broken bool
	mapped map[Mapping]uint16
	calls  []time.Duration // of Map, since start
	start  time.Time
}

func newFake(name string) *fakeGateway {
	return &fakeGateway{name: name, granted: time.Hour, mapped: make(map[Mapping]uint16), start: time.Now()}
}

func (g *fakeGateway) Name() string { return g.name }

func (g *fakeGateway) Map(_ context.Context, m Mapping, external uint16, _ time.Duration) (uint16, time.Duration, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.broken {
		return 0, 0, errors.New("broken")
	}
	g.calls = append(g.calls, time.Since(g.start))
	if g.mapped[m] == 0 {
		external += g.shift
	}
	g.mapped[m] = external
	return external, g.granted, nil
}

func (g *fakeGateway) Unmap(_ context.Context, m Mapping, external uint16) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mapped[m] != external {
		return errors.New("not mapped")
	}
	delete(g.mapped, m)
	return nil
}

func (g *fakeGateway) External(context.Context) (netip.Addr, error) {
	return netip.MustParseAddr("81.2.3.4"), nil
}

func (g *fakeGateway) setBroken(b bool) {
	g.mu.Lock()
	g.broken = b
	g.mu.Unlock()
}

func offer(gateways ...Gateway) func(context.Context, Route) <-chan Gateway {
	return func(ctx context.Context, _ Route) <-chan Gateway {
		out := make(chan Gateway)
		go func() {
			defer close(out)
			for _, g := range gateways {
				select {
				case out <- g:
				case <-ctx.Done():
					return
				}
			}
		}()
		return out
	}
}

var home = Route{Local: netip.MustParseAddr("192.168.1.2"), Gateway: netip.MustParseAddr("192.168.1.1")}

func TestMapRenewRemove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad, good, spare := newFake("bad"), newFake("good"), newFake("spare")
		bad.broken, good.shift = true, 1000
		tcp, udp := Mapping{TCP, 6881}, Mapping{UDP, 6881}
		var told []netip.AddrPort
		m := New(Config{
			Mappings: []Mapping{tcp, udp},
			Mapped:   func(_ Mapping, a netip.AddrPort) { told = append(told, a) },
			Route:    func() (Route, error) { return home, nil },
			Discover: offer(bad, good, spare),
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); m.Run(ctx) }()
		time.Sleep(65 * time.Minute)
		synctest.Wait()
		want := netip.MustParseAddrPort("81.2.3.4:7881")
		if !slices.Equal(told, []netip.AddrPort{want, want}) {
			t.Errorf("told %v", told)
		}
		s := m.Status()
		if s.Gateway != "good" || s.External != want.Addr() || s.Mapped[tcp] != 7881 || s.Mapped[udp] != 7881 {
			t.Errorf("status %+v", s)
		}
		if want := []time.Duration{0, 0, 30 * time.Minute, 30 * time.Minute, time.Hour, time.Hour}; !slices.Equal(good.calls, want) {
			t.Errorf("mapped at %v", good.calls)
		}
		if len(spare.calls) > 0 {
			t.Error("two routers were asked")
		}
		cancel()
		<-done
		if len(good.mapped) > 0 || m.Status().Gateway != "" {
			t.Errorf("left behind: %v", good.mapped)
		}
	})
}

// A short life is renewed at its half, but not more often than RFC 6887 wants it.
func TestShortLife(t *testing.T) {
	for granted, want := range map[time.Duration]int{time.Second: 900, 2 * time.Minute: 60} {
		synctest.Test(t, func(t *testing.T) {
			g := newFake("g")
			g.granted = granted
			m := New(Config{Mappings: []Mapping{{TCP, 1}}, Route: func() (Route, error) { return home, nil }, Discover: offer(g)})
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			m.Run(ctx)
			if n := len(g.calls); n < want-1 || n > want+1 {
				t.Errorf("a life of %v is renewed %d times in an hour, want %d", granted, n, want)
			}
		})
	}
}

// A laptop that wakes in another network, and a router that restarts.
func TestNetworkChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := newFake("first"), newFake("second")
		route := home
		var routeErr error
		var mu sync.Mutex
		m := New(Config{
			Mappings: []Mapping{{TCP, 6881}},
			Route: func() (Route, error) {
				mu.Lock()
				defer mu.Unlock()
				return route, routeErr
			},
			Discover: func(ctx context.Context, r Route) <-chan Gateway {
				switch r.Gateway {
				case home.Gateway:
					return offer(first)(ctx, r)
				case netip.MustParseAddr("10.0.0.1"):
					return offer(second)(ctx, r)
				}
				return offer()(ctx, r)
			},
		})
		change := func(r Route, err error) {
			mu.Lock()
			defer mu.Unlock()
			route, routeErr = r, err
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); m.Run(ctx) }()
		expect := func(after time.Duration, want string) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			if got := m.Status().Gateway; got != want {
				t.Errorf("gateway %q, want %q", got, want)
			}
		}
		expect(time.Second, "first")
		change(Route{}, errors.New("no network"))
		expect(2*time.Minute, "")
		change(Route{Local: netip.MustParseAddr("10.0.0.2"), Gateway: netip.MustParseAddr("10.0.0.1")}, nil)
		m.NetworkChanged()
		expect(0, "second")
		second.setBroken(true)
		expect(31*time.Minute, "")
		second.setBroken(false)
		expect(35*time.Minute, "second")
		cancel()
		<-done
		if len(first.mapped) != 1 || len(second.mapped) != 0 {
			t.Errorf("first %v, second %v", first.mapped, second.mapped)
		}
	})
}

// The way of a router that never says a word.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		m := New(Config{
			Mappings: []Mapping{{TCP, 6881}},
			Route:    func() (Route, error) { return home, nil },
			Discover: func(ctx context.Context, _ Route) <-chan Gateway {
				tries++
				out := make(chan Gateway)
				go func() {
					<-ctx.Done()
					close(out)
				}()
				return out
			},
		})
		ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
		defer cancel()
		m.Run(ctx)
		if tries < 40 || tries > 60 {
			t.Errorf("tried %d times in a day", tries)
		}
	})
}
