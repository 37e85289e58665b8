package simnet

import (
	"encoding/binary"
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"time"
)

// A pipe is one direction of a connection: bytes wait for the uplink, travel,
// queue on the downlink, and wait to be read. All of it is guarded by the
// network's mutex.
type pipe struct {
	net      *Network
	src, dst *Host
	from, to *Conn
	rng      *rand.Rand

	waiting []byte    // written, not yet on the uplink
	fin     bool      // nothing will be written any more
	finSent bool      //
	queued  bool      // has a place in the uplink's ring
	transit []segment // left the uplink, in order
	arrived [][]byte  // off the downlink, unread
	eof     bool      // the end has arrived
	unacked int       // bytes written that the window still counts
	dead    bool      // reset: what is under way is lost
}

// segment is what an uplink carries at a time.
type segment struct {
	data   []byte
	fin    bool
	arrive time.Time // at the other host's downlink
}

func newPipe(n *Network, src, dst *Host, local, remote netip.AddrPort) *pipe {
	h := fnv.New64a()
	a, _ := local.MarshalBinary()
	b, _ := remote.MarshalBinary()
	_, _ = h.Write(binary.BigEndian.AppendUint64(append(a, b...), n.seed))
	return &pipe{net: n, src: src, dst: dst, rng: rand.New(rand.NewPCG(n.seed, h.Sum64()))}
}

// delay is the time that a segment takes between two links, without luck.
func (p *pipe) delay() time.Duration { return p.src.link.Delay + p.dst.link.Delay }

// room returns how many more bytes may be written now.
func (p *pipe) room() int {
	window := p.src.link.Window
	if window <= 0 {
		window = DefaultWindow
	}
	return max(0, window-p.unacked)
}

// write queues b, which fits the window.
func (p *pipe) write(b []byte) {
	p.waiting = append(p.waiting, b...)
	p.unacked += len(b)
	p.src.up.add(p.src, p)
}

// finish ends the stream behind what was written.
func (p *pipe) finish() {
	if !p.fin {
		p.fin = true
		p.src.up.add(p.src, p)
	}
}

// take returns the next segment for the uplink, and whether there are more.
func (p *pipe) take() (s segment, more bool) {
	n := min(len(p.waiting), segmentSize)
	s.data, p.waiting = p.waiting[:n:n], p.waiting[n:]
	if len(p.waiting) > 0 {
		return s, true
	}
	p.waiting = nil
	s.fin = p.fin
	p.finSent = p.fin
	return s, false
}

// launch sends a segment that left the uplink on its way.
func (p *pipe) launch(s segment) {
	if p.dead {
		return
	}
	link := &p.src.link
	d := p.delay()
	if link.Jitter > 0 {
		d += time.Duration(p.rng.Int64N(int64(link.Jitter) + 1))
	}
	if link.Loss > 0 && p.rng.Float64() < link.Loss {
		if link.Retransmit > 0 {
			d += link.Retransmit
		} else {
			d += DefaultRetransmit
		}
	}
	s.arrive = time.Now().Add(d)
	p.transit = append(p.transit, s)
	p.net.after(d, p.land)
}

// land moves what has arrived to the downlink. A segment that is late holds up
// those behind it.
func (p *pipe) land() {
	for len(p.transit) > 0 && !p.src.cut && !p.dst.cut && !p.transit[0].arrive.After(time.Now()) {
		s := p.transit[0]
		p.transit = p.transit[1:]
		p.dst.down.add(p.dst, p, s)
	}
}

// resume sends what a partition held up once more.
func (p *pipe) resume() {
	soonest := time.Now().Add(p.delay())
	for i := range p.transit {
		if s := &p.transit[i]; s.arrive.Before(soonest) {
			s.arrive = soonest
		}
	}
	if len(p.transit) > 0 {
		p.net.after(time.Until(p.transit[0].arrive), p.land)
	}
}

// deliver hands a segment to the receiving end.
func (p *pipe) deliver(s segment) {
	switch {
	case p.dead:
	case p.to.closed:
		if len(s.data) > 0 { // it will not be read: tell the sender, as TCP does
			p.to.abort()
		}
	default:
		if len(s.data) > 0 {
			p.arrived = append(p.arrived, s.data)
		}
		p.eof = p.eof || s.fin
		p.to.readable.Broadcast()
	}
	p.to.forget()
	p.from.forget()
}

// read copies what has arrived to b. The window opens again when the sender
// hears of it.
func (p *pipe) read(b []byte) int {
	total := 0
	for len(b) > 0 && len(p.arrived) > 0 {
		n := copy(b, p.arrived[0])
		b, total = b[n:], total+n
		if p.arrived[0] = p.arrived[0][n:]; len(p.arrived[0]) == 0 {
			p.arrived = p.arrived[1:]
		}
	}
	if total > 0 {
		p.net.after(p.delay(), func() {
			p.unacked -= total
			p.from.writable.Broadcast()
		})
	}
	return total
}

// kill drops what is under way.
func (p *pipe) kill() {
	p.dead = true
	p.waiting, p.transit = nil, nil
}

// An uplink carries one segment at a time, of each connection in turn.
type uplink struct {
	ring []*pipe
	busy bool
}

func (u *uplink) add(h *Host, p *pipe) {
	if !p.queued {
		p.queued = true
		u.ring = append(u.ring, p)
	}
	u.run(h)
}

func (u *uplink) run(h *Host) {
	for !u.busy && len(u.ring) > 0 {
		p := u.ring[0]
		u.ring = u.ring[1:]
		s, more := p.take()
		if p.queued = more; more {
			u.ring = append(u.ring, p)
		}
		d := transmission(len(s.data), h.link.Up)
		if d == 0 {
			p.launch(s)
			continue
		}
		u.busy = true
		h.net.after(d, func() {
			u.busy = false
			p.launch(s)
			u.run(h)
		})
	}
}

// A downlink carries one segment at a time, in the order of arrival.
type downlink struct {
	queue []inbound
	busy  bool
}

type inbound struct {
	pipe *pipe
	segment
}

func (d *downlink) add(h *Host, p *pipe, s segment) {
	d.queue = append(d.queue, inbound{p, s})
	d.run(h)
}

func (d *downlink) run(h *Host) {
	for !d.busy && len(d.queue) > 0 {
		in := d.queue[0]
		d.queue = d.queue[1:]
		t := transmission(len(in.data), h.link.Down)
		if t == 0 || in.pipe.dead {
			in.pipe.deliver(in.segment)
			continue
		}
		d.busy = true
		h.net.after(t, func() {
			d.busy = false
			in.pipe.deliver(in.segment)
			d.run(h)
		})
	}
}

// transmission is how long n bytes take at a rate in bytes per second.
func transmission(n int, rate int64) time.Duration {
	if rate <= 0 {
		return 0
	}
	return time.Duration(float64(n) / float64(rate) * float64(time.Second))
}
