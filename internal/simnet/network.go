package simnet

import (
	"container/heap"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Network connects hosts.
type Network struct {
	seed uint64        // immutable
	done chan struct{} // closed by Close

	mu     sync.Mutex
	hosts  map[netip.Addr]*Host
	events eventQueue
	order  uint64 // of the next event: those of one instant happen in the order in which they were made
	timer  *time.Timer
	closed bool
}

// New returns a network without hosts. What is random in it follows from seed.
func New(seed uint64) *Network {
	return &Network{seed: seed, done: make(chan struct{}), hosts: map[netip.Addr]*Host{}}
}

// Host adds a host with the given address, and returns it. It panics on an
// address that is not valid or taken: that is a mistake in a test.
func (n *Network) Host(addr string, link Link) *Host {
	a := netip.MustParseAddr(addr)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.hosts[a] != nil {
		panic(fmt.Sprintf("simnet: host %v exists", a))
	}
	h := &Host{net: n, addr: a, link: link, listeners: map[uint16]*Listener{}, nextPort: firstEphemeral}
	n.hosts[a] = h
	return h
}

// Close resets all connections, closes all listeners, ends all dialing, and
// stops the network.
func (n *Network) Close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return
	}
	close(n.done)
	n.closed = true
	n.events = nil
	if n.timer != nil {
		n.timer.Stop()
	}
	for _, h := range n.hosts {
		for _, l := range h.listeners {
			l.closeLocked()
		}
		for _, c := range h.packets {
			c.closed = true
			c.readable.Broadcast()
		}
		for _, c := range slices.Clone(h.conns) {
			c.fail(errReset)
		}
	}
}

// event is something that happens at an instant; do runs with mu held.
type event struct {
	at    time.Time
	order uint64
	do    func()
}

type eventQueue []event

func (q eventQueue) Len() int      { return len(q) }
func (q eventQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *eventQueue) Push(x any)   { *q = append(*q, x.(event)) }
func (q eventQueue) Less(i, j int) bool {
	if !q[i].at.Equal(q[j].at) {
		return q[i].at.Before(q[j].at)
	}
	return q[i].order < q[j].order
}

// Push and Pop are for container/heap alone.

func (q *eventQueue) Pop() any {
	last := (*q)[len(*q)-1]
	(*q)[len(*q)-1] = event{}
	*q = (*q)[:len(*q)-1]
	return last
}

// after makes do happen in d from now. mu is held.
func (n *Network) after(d time.Duration, do func()) {
	if n.closed {
		return
	}
	n.order++
	heap.Push(&n.events, event{time.Now().Add(d), n.order, do})
	if n.events[0].order == n.order {
		n.arm()
	}
}

// arm sets the timer to the first event. mu is held.
func (n *Network) arm() {
	if len(n.events) == 0 {
		return
	}
	d := time.Until(n.events[0].at)
	if n.timer == nil {
		n.timer = time.AfterFunc(d, n.tick)
	} else {
		n.timer.Reset(d)
	}
}

// tick makes everything happen that is due.
func (n *Network) tick() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for len(n.events) > 0 && !n.events[0].at.After(time.Now()) {
		heap.Pop(&n.events).(event).do()
	}
	n.arm()
}
