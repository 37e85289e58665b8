package peers

import (
	"net/netip"
	"slices"
	"sync"
	"time"
)

// How many connections one network (neighbourhood) may open to us at once, and per second. Behind one address there may be
// a house full of clients; on this machine there may be a proxy of everybody.
var (
	arrivalBound = dialBound{burst: 64, rate: 2}
	localBound   = dialBound{burst: 512, rate: 20}
)

// Arrivals bounds how often one network connects to us. Each connection costs a handshake, so that a client that comes
// back without end would use up what others need. The zero value is ready; any goroutine may use it.
type Arrivals struct {
	mu    sync.Mutex // a leaf
	start time.Time  // of the first one
	known map[netip.Prefix]dialAccount
}

// Admit reports whether a connection is taken.
func (a *Arrivals) Admit(at time.Time, addr netip.Addr) bool {
	home, b := neighbourhood(addr), arrivalBound
	if addr.IsLoopback() {
		b = localBound
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.start.IsZero() {
		a.start = at
	}
	now := at.Sub(a.start)
	if a.known[home].wait(now, b) > 0 {
		return false
	}
	updateAccount(&a.known, home, b, func(c dialAccount, b dialBound) dialAccount {
		c = c.aged(now, b)
		c.charge++
		return c
	})
	return true
}

// MaxHandshaking is how many incoming connections may wait that have not said which torrent they want.
const MaxHandshaking = 64

// Handshaking is the incoming connections that have not shaken hands. Of too many the oldest goes of the network that has
// most of them: the honest are done within a round trip, and those who hold places have waited longest. The zero
// value is ready; any goroutine may use it.
type Handshaking[C comparable] struct {
	mu    sync.Mutex // a leaf
	conns []newcomer[C]
}

// newcomer is one of them; the oldest is the first in the list.
type newcomer[C comparable] struct {
	conn C
	home netip.Prefix
}

// Enter adds a connection, and returns the one that must go for it, if any must: the caller closes it.
func (h *Handshaking[C]) Enter(c C, from netip.Addr) (gone C, full bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.conns = append(h.conns, newcomer[C]{c, neighbourhood(from)})
	if len(h.conns) <= MaxHandshaking {
		return gone, false
	}
	i := h.mostCrowded()
	gone = h.conns[i].conn
	h.conns = slices.Delete(h.conns, i, i+1)
	return gone, true
}

// mostCrowded is the oldest connection of the network that has most.
func (h *Handshaking[C]) mostCrowded() (oldest int) {
	count := make(map[netip.Prefix]int, len(h.conns))
	most := 0
	for _, c := range h.conns {
		count[c.home]++
		most = max(most, count[c.home])
	}
	return slices.IndexFunc(h.conns, func(c newcomer[C]) bool { return count[c.home] == most })
}

// Leave removes a connection that has shaken hands or has ended.
func (h *Handshaking[C]) Leave(c C) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.conns = slices.DeleteFunc(h.conns, func(o newcomer[C]) bool { return o.conn == c })
}

// Len is how many there are.
func (h *Handshaking[C]) Len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.conns)
}
