package utp

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"
)

// It takes the bandwidth that no other flow uses, gives way to a flow that fills the queue, and
// comes back when that has gone.
func TestYieldsToTCP(t *testing.T) {
	const rate = 500e3
	s := newSim(t, 1)
	there := &path{rate: rate, delay: 20 * ms, queue: 400 * ms}
	a, b := s.connect(there, &path{rate: rate, delay: 20 * ms})
	a.toWrite = stream(1, 40<<20)
	s.other = newReno(there, 20*ms, 20*time.Second, 60*time.Second)
	share := func(from, till time.Duration) (ours, theirs float64) {
		s.run(from, func() bool { return false })
		read, other := len(b.read), s.other.delivered
		s.run(till, func() bool { return false })
		seconds := (till - from).Seconds()
		return float64(len(b.read)-read) / seconds / rate, float64(s.other.delivered-other) / seconds / rate
	}
	before, _ := share(10*time.Second, 20*time.Second)
	during, tcp := share(30*time.Second, 60*time.Second)
	after, _ := share(70*time.Second, 85*time.Second)
	t.Logf("of the link: alone %.3f, beside TCP %.3f (TCP %.3f), alone again %.3f", before, during, tcp, after)
	if before < 0.85 || during > 0.15 || tcp < 0.8 || after < 0.85 {
		t.Error("it does not yield, or does not come back")
	}
}

// More delay means a smaller window, for any cause.
func TestDelayShrinksWindow(t *testing.T) {
	s := newSim(t, 1)
	there := &path{rate: 2e6, delay: 20 * ms}
	a, _ := s.connect(there, &path{delay: 20 * ms})
	a.toWrite = stream(1, 16<<20)
	s.run(5*time.Second, func() bool { return false })
	before := a.core.cc.window()
	there.delay += 250 * ms
	s.run(8*time.Second, func() bool { return false })
	if after := a.core.cc.window(); after > before/2 {
		t.Errorf("window %d before and %d after 250 ms more delay", before, after)
	}
}

// The queue that we make stays near the target.
func TestKeepsDelayNearTarget(t *testing.T) {
	s := newSim(t, 1)
	there := &path{rate: 1e6, delay: 25 * ms} // with all the buffer that one could want
	a, _ := s.connect(there, &path{delay: 25 * ms})
	a.toWrite = stream(1, 20<<20)
	worst := time.Duration(0)
	s.step = func() {
		if s.now > 5*time.Second {
			worst = max(worst, there.free-s.now)
		}
	}
	s.run(20*time.Second, func() bool { return false })
	if worst > targetDelay*3/2 || worst < targetDelay/2 {
		t.Errorf("the queue is up to %v long", worst)
	}
}

func TestLossIsRepairedWithoutTimeout(t *testing.T) {
	for _, loss := range []float64{0.001, 0.01, 0.03} {
		s := newSim(t, 4)
		there := &path{rate: 2e6, delay: 20 * ms, queue: time.Second, loss: loss}
		const n = 8 << 20
		timeouts := 0
		var a *host
		s.step = func() {
			if a = s.hosts[0]; a.core.retries > 0 && a.core.rtoAt-s.now > 0 {
				timeouts = max(timeouts, a.core.retries)
			}
		}
		transfer(t, s, there, &path{rate: 2e6, delay: 20 * ms}, n, 0, time.Hour)
		resent := float64(a.sentBytes)/float64(n) - 1
		t.Logf("loss %v: %.0f kB/s, %.3f sent beyond the stream", loss, float64(n)/s.now.Seconds()/1e3, resent)
		if resent > loss+0.06 {
			t.Errorf("loss %v: %.3f more was sent than the stream has", loss, resent)
		}
		if timeouts > 1 {
			t.Errorf("loss %v: %d time-outs in a row", loss, timeouts)
		}
	}
}

// Larger packets are used if they get through; if not, nothing breaks.
func TestPacketSizes(t *testing.T) {
	for _, tt := range []struct{ mtu, want int }{
		{0, 1452}, {1452, 1452}, {1400, 1372}, {1372, 1372}, {1300, baseDatagram}, {baseDatagram, baseDatagram},
	} {
		s := newSim(t, 1)
		a, _ := transfer(t, s, &path{rate: 1e6, delay: 10 * ms, mtu: tt.mtu}, &path{delay: 10 * ms}, 2<<20, 0, time.Minute)
		if got := a.core.cc.mss + headerLen; got != tt.want {
			t.Errorf("path of %d: packets of %d, want %d", tt.mtu, got, tt.want)
		}
		if tt.mtu == baseDatagram && s.now > 4*time.Second {
			t.Errorf("trying sizes in vain took the transfer %v", s.now)
		}
	}
}

// What is put before each datagram on its way is left room for.
func TestPacketSizesWithOverhead(t *testing.T) {
	const overhead = 22
	for _, tt := range []struct{ mtu, want int }{{0, 1452}, {1452 - overhead, 1452}, {1400, 1372}, {baseDatagram - overhead, baseDatagram}} {
		s := newSim(t, 1)
		out := &path{rate: 1e6, delay: 10 * ms, mtu: tt.mtu}
		a, b := s.connect(out, &path{delay: 10 * ms})
		a.core.narrow(overhead)
		a.toWrite = make([]byte, 1<<20)
		s.run(time.Minute, func() bool { return len(b.read) >= 1<<20 })
		if got := a.core.cc.mss + headerLen + overhead; got != tt.want {
			t.Errorf("path of %d: packets of %d with what is put before them, want %d", tt.mtu, got, tt.want)
		}
	}
}

// A reader that stops is not flooded, and goes on where it was.
func TestSlowReader(t *testing.T) {
	s := newSim(t, 1)
	a, b := s.connect(&path{rate: 5e6, delay: 10 * ms}, &path{delay: 10 * ms})
	data := stream(1, 4<<20)
	a.toWrite = data
	b.readAfter = 3 * time.Minute // longer than all retries of a packet
	s.run(2*time.Minute, func() bool { return false })
	if a.core.state != stateConnected {
		t.Fatalf("a peer that does not read was given up: %v", a.core.err)
	}
	if held := b.core.recvBuf.size; held > minRecvLimit+maxDatagram || held < minRecvLimit/2 {
		t.Errorf("%d bytes are held for a reader that does not read", held)
	}
	if !s.run(4*time.Minute, func() bool { return len(b.read) == len(data) }) || !bytes.Equal(b.read, data) {
		t.Errorf("%d of %d bytes were read in the end", len(b.read), len(data))
	}
}

// Acks that follow our FIN have its number: there is no next one, and libtorrent
// takes no notice of packets beyond the end.
func TestAcksAfterFin(t *testing.T) {
	c := sampleCore()
	now := time.Hour
	c.receive(now, &packet{kind: typeState, seq: 2, ack: 1})
	c.close(now)
	fin := drain(t, c, now)
	c.receive(now, &packet{kind: typeFin, seq: 2, ack: 2})
	ack := drain(t, c, now)
	if fin.kind != typeFin || fin.seq != 2 || ack.kind != typeState || ack.seq != fin.seq || ack.ack != 2 {
		t.Errorf("FIN %+v, ack %+v", fin, ack)
	}
}

// Who closes first, and what is lost then, makes no difference to what is read.
func TestClose(t *testing.T) {
	for _, loss := range []float64{0, 0.2} {
		for seed := range uint64(20) {
			s := newSim(t, seed)
			a, b := s.connect(&path{delay: 10 * ms, loss: loss}, &path{delay: 10 * ms, loss: loss})
			data := stream(seed, 50_000)
			a.toWrite = data
			s.run(time.Minute, func() bool { return len(a.toWrite) == 0 })
			a.core.close(a.now(s.now))
			s.run(2*time.Minute, func() bool { return b.err != nil })
			if !errors.Is(b.err, io.EOF) || !bytes.Equal(b.read, data) {
				if loss > 0 && a.core.err != nil {
					continue // gave up after ten seconds
				}
				t.Fatalf("seed %d: read %d bytes, then %v", seed, len(b.read), b.err)
			}
			if _, err := a.core.write([]byte("x")); err == nil {
				t.Error("a closed connection takes bytes")
			}
			b.core.close(b.now(s.now))
			if !s.run(s.now+time.Minute, func() bool { return a.core.state == stateClosed && b.core.state == stateClosed }) {
				t.Fatalf("seed %d: states %d and %d in the end", seed, a.core.state, b.core.state)
			}
			if a.core.err != nil || (loss == 0 && b.core.err != nil) {
				t.Errorf("seed %d: ended with %v and %v", seed, a.core.err, b.core.err)
			}
		}
	}
}

func TestNobodyThere(t *testing.T) {
	s := newSim(t, 1)
	a, _ := s.connect(&path{loss: 1}, &path{})
	if !s.run(time.Hour, func() bool { return a.core.state == stateClosed }) || a.core.err != errTimeout {
		t.Errorf("state %d, %v", a.core.state, a.core.err)
	}
	if a.sent != 1+maxSynRetries || s.now > time.Minute {
		t.Errorf("%d SYNs within %v", a.sent, s.now)
	}
}

func TestPeerVanishes(t *testing.T) {
	s := newSim(t, 1)
	there := &path{delay: 10 * ms}
	a, b := s.connect(there, &path{delay: 10 * ms})
	a.toWrite = stream(1, 1<<20)
	s.run(50*ms, func() bool { return false })
	there.loss, b.path.loss = 1, 1
	begun := s.now
	if !s.run(time.Hour, func() bool { return a.core.state == stateClosed }) || a.core.err != errTimeout {
		t.Fatalf("state %d, %v", a.core.state, a.core.err)
	}
	if took := s.now - begun; took < 20*time.Second || took > 3*time.Minute {
		t.Errorf("gave up after %v", took)
	}
}

// The answer to the SYN and its confirmation may get lost, even if the dialled end sends first.
func TestHandshakeLoss(t *testing.T) {
	for seed := range uint64(50) {
		s := newSim(t, seed)
		a, b := s.connect(&path{delay: 10 * ms, loss: 0.3}, &path{delay: 10 * ms, loss: 0.3})
		b.toWrite = []byte("hello")
		if !s.run(time.Minute, func() bool { return string(a.read) == "hello" }) {
			if a.core.err == errTimeout || (b.core != nil && b.core.err == errTimeout) {
				continue // everything lost
			}
			t.Errorf("seed %d: read %q", seed, a.read)
		}
	}
}

// Numbers wrap around in the middle of a stream.
func TestSequenceWraps(t *testing.T) {
	s := newSim(t, 1)
	a, b := s.connect(&path{delay: 5 * ms, jitter: 10 * ms, loss: 0.01}, &path{delay: 5 * ms})
	s.run(time.Second, func() bool { return b.core != nil && b.core.state == stateConnected && a.core.outstanding() == 0 })
	shift := 65500 - a.core.seq
	a.core.seq, b.core.ackNr = 65500, b.core.ackNr+shift
	a.core.una = 65500
	data := stream(1, 1<<20)
	a.toWrite = data
	if !s.run(time.Minute, func() bool { return len(b.read) == len(data) }) || !bytes.Equal(b.read, data) {
		t.Errorf("read %d of %d bytes; next number %d", len(b.read), len(data), a.core.seq)
	}
}

// A stranger who does not see the packets can hardly touch a connection.
func TestBlindPackets(t *testing.T) {
	s := newSim(t, 1)
	a, b := s.connect(&path{delay: 10 * ms}, &path{delay: 10 * ms})
	a.toWrite = stream(1, 100_000)
	s.run(time.Minute, func() bool { return len(b.read) == 100_000 })
	before := *b.core
	for _, p := range []packet{
		{kind: typeReset, ack: b.core.una + 5000},
		{kind: typeFin, seq: b.core.ackNr + 1, ack: b.core.una + 100},
		{kind: typeData, seq: b.core.ackNr + 1, ack: b.core.una + 20000, payload: []byte("lies")},
		{kind: typeSyn, seq: 77},
	} {
		b.core.receive(b.now(s.now), &p)
	}
	if b.core.state != stateConnected || b.core.eof || b.core.ackNr != before.ackNr || b.core.recvBuf.size != 0 {
		t.Errorf("changed: state %d, end %v", b.core.state, b.core.eof)
	}
}

// A peer that ignores our window makes us keep no more than it allows.
func TestWindowIsEnforced(t *testing.T) {
	c := sampleCore()
	now := time.Hour
	c.receive(now, &packet{kind: typeState, seq: 2, ack: 1})
	payload := make([]byte, 1400)
	for i := range 30_000 {
		p := packet{kind: typeData, seq: c.ackNr + 1, ack: 1, payload: payload}
		if i%3 > 0 {
			p.seq += uint16(1 + i%900)
		}
		c.receive(now, &p)
		drain(t, c, now)
	}
	if held := c.recvBuf.size + c.early.bytes; held > 2*(minRecvLimit+maxDatagram) {
		t.Errorf("%d bytes are held", held)
	}
}

func TestDelayHistory(t *testing.T) {
	var h delayHistory
	now := time.Duration(0)
	base := uint32(1<<32 - 5000) // µs, and about to wrap around
	for i := range uint32(20) {
		got := h.add(now, base+i*1000)
		if want := time.Duration(i) * ms; got != want {
			t.Fatalf("sample %d is %v above the base, want %v", i, got, want)
		}
		now += 100 * ms
	}
	// The route gets longer for good: after ten minutes that is the base.
	longer := base + 50_000
	if got := h.add(now, longer); got != 50*ms {
		t.Fatalf("%v above the base", got)
	}
	for range baseMinutes + 1 {
		now += time.Minute
		h.add(now, longer)
	}
	if got := h.add(now, longer+3000); got != 3*ms {
		t.Errorf("after eleven minutes %v above the base", got)
	}
}
