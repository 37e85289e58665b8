package utp

import (
	"container/heap"
	"math/rand/v2"
	"testing"
	"time"
)

// path is one direction of a simulated network.
type path struct {
	rate   float64       // bytes per second; 0: no limit
	queue  time.Duration // a packet that would wait longer is dropped; 0: no limit
	delay  time.Duration
	jitter time.Duration // up to this much more, at random: reorders
	loss   float64
	dup    float64
	mtu    int // larger datagrams vanish; 0: none does

	free time.Duration // when the link has sent what it has
}

// transit is when a datagram that is sent now arrives; false: there is no room
// for it.
func (p *path) transit(now time.Duration, n int) (time.Duration, bool) {
	if p.queue > 0 && p.free-now > p.queue {
		return 0, false
	}
	p.free = max(p.free, now)
	if p.rate > 0 {
		p.free += time.Duration(float64(n+ipHeader) / p.rate * float64(time.Second))
	}
	return p.free + p.delay, true
}

// header of IPv4 and UDP, which take time on the link as well.
const ipHeader = 28

// flying is a packet under way.
type flying struct {
	at    time.Duration
	order int // breaks ties, so that runs are the same
	to    *host
	data  []byte
}

type flyingHeap []flying

func (h flyingHeap) Len() int { return len(h) }
func (h flyingHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || (h[i].at == h[j].at && h[i].order < h[j].order)
}
func (h flyingHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *flyingHeap) Push(x any)   { *h = append(*h, x.(flying)) }
func (h *flyingHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

// host is one end with its application: it writes a stream, reads the other
// one, and closes when both are through.
type host struct {
	core *core
	path *path
	peer *host
	skew time.Duration // of its clock against the network's

	toWrite   []byte
	read      []byte
	readRate  float64 // bytes per second; 0: no limit
	readAfter time.Duration
	err       error // that ended reading

	sent, sentBytes, largest int
}

func (h *host) now(t time.Duration) time.Duration { return t + h.skew + time.Hour }

// sim is a network in virtual time.
type sim struct {
	t       testing.TB
	now     time.Duration
	rand    *rand.Rand
	order   int
	arrived int
	air     flyingHeap
	hosts   []*host
	other   *reno  // another flow; nil: none
	step    func() // called after each event
}

func newSim(t testing.TB, seed uint64) *sim {
	return &sim{t: t, rand: rand.New(rand.NewPCG(seed, seed))}
}

// connect adds two hosts, of which the first one dials.
func (s *sim) connect(there, back *path) (a, b *host) {
	a = &host{path: there}
	b = &host{path: back, skew: 1234567 * time.Microsecond, peer: a}
	a.peer = b
	a.core = newDialer(a.now(s.now), uint16(s.rand.Uint32()))
	s.hosts = append(s.hosts, a, b)
	return a, b
}

// send puts a datagram on its way.
func (s *sim) send(h *host, data []byte) {
	h.sent++
	h.sentBytes += len(data)
	h.largest = max(h.largest, len(data))
	p := h.path
	if p.mtu > 0 && len(data) > p.mtu || s.rand.Float64() < p.loss {
		return
	}
	copies := 1
	if s.rand.Float64() < p.dup {
		copies = 2
	}
	for range copies {
		at, ok := p.transit(s.now, len(data))
		if !ok {
			return
		}
		if p.jitter > 0 {
			at += time.Duration(s.rand.Int64N(int64(p.jitter)))
		}
		d := append([]byte(nil), data...)
		s.order++
		heap.Push(&s.air, flying{at: at, order: s.order, to: h.peer, data: d})
	}
}

// pump lets a host do all that it can do now.
func (s *sim) pump(h *host) {
	if h.core == nil {
		return
	}
	now := h.now(s.now)
	if len(h.toWrite) > 0 && h.core.state == stateConnected {
		n, err := h.core.write(h.toWrite)
		if err == nil {
			h.toWrite = h.toWrite[n:]
		}
	}
	for h.err == nil && s.now >= h.readAfter {
		var buf [4096]byte
		n, err := h.core.read(buf[:])
		h.read = append(h.read, buf[:n]...)
		h.err = err
		if n == 0 {
			break
		}
		if h.readRate > 0 {
			h.readAfter = s.now + time.Duration(float64(n)/h.readRate*float64(time.Second))
		}
	}
	var buf [maxDatagram]byte
	for {
		b, ok := h.core.next(now, buf[:0])
		if !ok {
			return
		}
		if len(b) > maxDatagram {
			s.t.Fatalf("packet of %d bytes", len(b))
		}
		s.send(h, b)
	}
}

// run goes on until done says so, or the time is over; it reports which.
func (s *sim) run(limit time.Duration, done func() bool) bool {
	for events := 0; ; events++ {
		for _, h := range s.hosts {
			s.pump(h)
		}
		if s.other != nil {
			s.other.run(s.now)
		}
		if s.step != nil {
			s.step()
		}
		if done() {
			return true
		}
		next := time.Duration(1<<63 - 1)
		if len(s.air) > 0 {
			next = s.air[0].at
		}
		for _, h := range s.hosts {
			if h.core == nil {
				continue
			}
			if d := h.core.deadline(); d > 0 {
				next = min(next, max(s.now, d-h.skew-time.Hour))
			}
			if h.readAfter > s.now {
				next = min(next, h.readAfter)
			}
		}
		if s.other != nil {
			next = min(next, s.other.next(s.now))
		}
		if next == 1<<63-1 || next > limit {
			return false
		}
		if events > 5_000_000 {
			s.t.Fatalf("the simulation does not come to rest: now %v", s.now)
		}
		s.now = next
		for len(s.air) > 0 && s.air[0].at <= s.now {
			f := heap.Pop(&s.air).(flying)
			s.arrive(f.to, f.data)
		}
		for _, h := range s.hosts {
			if h.core == nil {
				continue
			}
			if d := h.core.deadline(); d > 0 && d <= h.now(s.now) {
				h.core.tick(h.now(s.now))
			}
		}
	}
}

// arrive is what a socket does with a datagram.
func (s *sim) arrive(h *host, data []byte) {
	p, err := parsePacket(data)
	if err != nil {
		return
	}
	switch {
	case p.kind == typeSyn:
		if h.core == nil {
			h.core = newAcceptor(h.now(s.now), &p, uint16(s.rand.Uint32()))
			return
		}
		if p.id+1 != h.core.recvID {
			return
		}
	case h.core == nil || p.id != h.core.recvID:
		return
	}
	h.core.receive(h.now(s.now), &p)
	if s.arrived++; s.arrived%16 == 0 || h.core.outstanding() < 16 {
		s.check(h.core) // which takes long
	}
}

// check holds a core to what must always be true.
func (s *sim) check(c *core) {
	flight, lost, bytes := 0, 0, 0
	for q := c.una; q != c.seq; q++ {
		g := c.segment(q)
		bytes += int(g.size)
		if g.lost {
			lost++
		} else if !g.sacked && g.times > 0 {
			flight += int(g.size)
		}
	}
	if flight != c.flight || lost != c.lostCount {
		s.t.Fatalf("in flight %d, counted %d; lost %d, counted %d", flight, c.flight, lost, c.lostCount)
	}
	if c.state != stateClosed && c.base+uint64(bytes) != c.cut {
		s.t.Fatalf("segments hold %d bytes from %d on, cut is at %d", bytes, c.base, c.cut)
	}
	if c.rtt.timeout > maxRTO {
		s.t.Fatalf("a time-out of %v", c.rtt.timeout)
	}
	if held := c.recvBuf.size + c.early.bytes; held > 2*(maxLimit+maxDatagram) {
		s.t.Fatalf("%d bytes are held", held)
	}
	if len(c.segs) > 2*maxReorder || c.early.count > maxReorder {
		s.t.Fatalf("%d segments, %d early packets", len(c.segs), c.early.count)
	}
}

// stream is n bytes to send.
func stream(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 7))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}
