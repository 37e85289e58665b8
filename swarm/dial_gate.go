package swarm

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"torrentfs/net/egress"
	"torrentfs/swarm/conn"
)

// dialGate is the dial policy of a session: torrents and searches for metadata share
// it, so that a victim is not dialled once for each.
type dialGate struct {
	start time.Time

	mu     sync.Mutex // a leaf
	policy dialPolicy
}

// wait is how long an address must wait before it may be dialled.
func (g *dialGate) wait(addr netip.Addr, by []Introducer) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	w, _ := g.policy.wait(time.Since(g.start), addr, by)
	return w
}

// take admits one dial of an address, or returns how long it must wait. The caller
// ends the ticket.
func (g *dialGate) take(addr netip.Addr, by []Introducer) (*dialTicket, time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Since(g.start)
	w, who := g.policy.wait(now, addr, by)
	if w > 0 {
		return nil, w
	}
	g.policy.charge(now, addr, who, 1)
	return &dialTicket{gate: g, addr: addr, who: who, cost: 1}, 0
}

func (g *dialGate) forgive() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.policy.forgive()
}

// dialTicket is one dial, which may be more than one connection. One goroutine has it.
type dialTicket struct {
	gate *dialGate
	addr netip.Addr
	who  Introducer
	cost float64
}

// again charges another connection that the dial makes.
func (k *dialTicket) again() {
	if k == nil {
		return
	}
	k.gate.mu.Lock()
	defer k.gate.mu.Unlock()
	k.cost++
	k.gate.policy.charge(time.Since(k.gate.start), k.addr, k.who, 1)
}

// end notes how the dial ended.
func (k *dialTicket) end(err error) {
	if k == nil {
		return
	}
	k.gate.mu.Lock()
	defer k.gate.mu.Unlock()
	k.gate.policy.settle(time.Since(k.gate.start), k.addr, k.who, k.cost, outcomeOf(err))
}

// outcomeOf is what an error of a dial says about the peer.
func outcomeOf(err error) dialOutcome {
	switch {
	case err == nil:
		return dialAnswered
	case errors.Is(err, egress.ErrDown), errors.Is(err, conn.ErrBlocked), errors.Is(err, errOurself), errors.Is(err, context.Canceled),
		errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.ENETDOWN), errors.Is(err, syscall.EADDRNOTAVAIL),
		errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.EPERM):
		return dialUnsent
	}
	return dialFailed
}
