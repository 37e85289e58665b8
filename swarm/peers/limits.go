package peers

import (
	"net/netip"
	"sync"
	"time"
)

// Limits is what all pools of a process share: how many connections there are and how many dials are under way, and the
// dial policy, so that a victim is not dialled once for each torrent. Any goroutine may use it.
type Limits struct {
	start              time.Time
	maxConns, maxDials int

	mu     sync.Mutex // a leaf
	conns  int        // connections, and dials
	dials  int        // under way
	policy dialPolicy
}

// NewLimits returns limits of so many connections, dials included, and so many dials under way.
func NewLimits(start time.Time, conns, dials int) *Limits {
	return &Limits{start: start, maxConns: conns, maxDials: dials}
}

// Conns is how many connections there are, and dials.
func (l *Limits) Conns() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conns
}

// Accept takes a place for a connection that came, and reports whether there was one. Release gives it back.
func (l *Limits) Accept() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conns >= l.maxConns {
		return false
	}
	l.conns++
	return true
}

// Release gives back the place of a connection.
func (l *Limits) Release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns--
}

// Forgive forgets all dials that failed: this machine has another network.
func (l *Limits) Forgive() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.policy.forgive()
}

// wait is how long the dial policy makes an address wait.
func (l *Limits) wait(at time.Time, addr netip.Addr, by []Introducer) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	w, _ := l.policy.wait(at.Sub(l.start), addr, by)
	return w
}

// dial admits one dial of an address, or returns how long it must wait; with neither there is no place.
func (l *Limits) dial(at time.Time, addr netip.Addr, by []Introducer) (*Ticket, time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conns >= l.maxConns || l.dials >= l.maxDials {
		return nil, 0
	}
	now := at.Sub(l.start)
	w, who := l.policy.wait(now, addr, by)
	if w > 0 {
		return nil, w
	}
	l.policy.charge(now, addr, who, 1)
	l.conns++
	l.dials++
	return &Ticket{limits: l, addr: addr, who: who, cost: 1}, 0
}

// Ticket is the places of one dial, which may be more than one connection. One goroutine has it, and ends it.
type Ticket struct {
	limits *Limits
	addr   netip.Addr
	who    Introducer
	cost   float64
}

// Again charges another connection that the dial makes.
func (k *Ticket) Again(at time.Time) {
	if k == nil {
		return
	}
	l := k.limits
	l.mu.Lock()
	defer l.mu.Unlock()
	k.cost++
	l.policy.charge(at.Sub(l.start), k.addr, k.who, 1)
}

// End notes how the dial ended. If the peer answered, its connection keeps a place until [Limits.Release].
func (k *Ticket) End(at time.Time, o Outcome) {
	if k == nil {
		return
	}
	l := k.limits
	l.mu.Lock()
	defer l.mu.Unlock()
	l.policy.settle(at.Sub(l.start), k.addr, k.who, k.cost, o.charge())
	l.dials--
	if o != Answered {
		l.conns--
	}
}
