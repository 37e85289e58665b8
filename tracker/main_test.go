package tracker

import (
	"net/netip"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a clock that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func hashOf(b byte) (h [20]byte) {
	for i := range h {
		h[i] = b
	}
	return h
}

func addr(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// must announces and returns the answer, whose slices are its own.
func must(t testing.TB, s *Server, a announcement) reply {
	t.Helper()
	var r reply
	if err := s.announce(&a, &r, true); err != nil {
		t.Fatalf("announce %v: %v", a.addr, err)
	}
	return r
}
