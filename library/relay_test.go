package library

import (
	"context"
	"net/netip"
	"testing"

	"torrentfs/swarm"
)

// curious is a source that asks at once how much its seeker lacks.
type curious struct{ left chan int64 }

func (s curious) Run(ctx context.Context, w swarm.Seeker) error {
	select {
	case <-w.Settled():
		_, _, left := w.Totals()
		s.left <- left
	case <-ctx.Done():
	}
	return nil
}

func (curious) NeedPeers() {}

// seeding is a seeker that has everything, and knows it once it has settled.
type seeding struct{ settled chan struct{} }

func (seeding) Found(swarm.Introducer, []netip.AddrPort) {}
func (seeding) Totals() (received, sent, left int64)     { return 0, 0, 0 }
func (s seeding) Settled() <-chan struct{}               { return s.settled }

// A source that a relay starts hears of the seeker from the beginning: a seed
// is not announced as one that lacks something.
func TestRelayStartsSourcesForSomebody(t *testing.T) {
	for range 200 { // it was a race
		s := curious{make(chan int64, 1)}
		r := newRelay(nil, s)
		w := seeding{make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- r.Run(ctx, w) }()
		close(w.settled)
		if left := <-s.left; left != 0 {
			t.Fatalf("a seed is said to lack %d bytes", left)
		}
		cancel()
		<-ended
		r.close()
	}
}
