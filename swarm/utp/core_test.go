package utp

import (
	"bytes"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const ms = time.Millisecond

// transfer sends streams both ways and checks that they come through.
func transfer(t *testing.T, s *sim, there, back *path, nA, nB int, limit time.Duration) (a, b *host) {
	t.Helper()
	a, b = s.connect(there, back)
	sentA, sentB := stream(1, nA), stream(2, nB)
	a.toWrite, b.toWrite = sentA, sentB
	ok := s.run(limit, func() bool {
		return b.core != nil && len(a.read) >= nB && len(b.read) >= nA
	})
	if !bytes.Equal(b.read, sentA) || !bytes.Equal(a.read, sentB) {
		t.Fatalf("at %v: %d of %d bytes arrived there and %d of %d back, equal %v %v (%v, %v)", s.now,
			len(b.read), nA, len(a.read), nB,
			bytes.HasPrefix(sentA, b.read), bytes.HasPrefix(sentB, a.read), a.err, b.err)
	}
	if !ok {
		t.Fatalf("not done after %v", s.now)
	}
	return a, b
}

// Any network that loses, delays, doubles and reorders packets delivers the
// streams as they were, and both ends come to their end.
func TestStreamsSurviveAnyNetwork(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := newSim(t, rapid.Uint64().Draw(rt, "seed"))
		draw := func(name string) *path {
			p := &path{
				delay:  time.Duration(rapid.IntRange(0, 300).Draw(rt, name+" delay")) * ms,
				jitter: time.Duration(rapid.SampledFrom([]int{0, 0, 1, 20, 200}).Draw(rt, name+" jitter")) * ms,
				loss:   rapid.SampledFrom([]float64{0, 0, 0.01, 0.1, 0.25}).Draw(rt, name+" loss"),
				dup:    rapid.SampledFrom([]float64{0, 0, 0.05, 0.5}).Draw(rt, name+" dup"),
				rate:   rapid.SampledFrom([]float64{0, 20e3, 1e6}).Draw(rt, name+" rate"),
				mtu:    rapid.SampledFrom([]int{0, baseDatagram, 1400}).Draw(rt, name+" mtu"),
			}
			if p.rate > 0 {
				p.queue = rapid.SampledFrom([]time.Duration{0, 80 * ms, time.Second}).Draw(rt, name+" queue")
			}
			return p
		}
		size := rapid.OneOf(rapid.IntRange(0, 5000), rapid.IntRange(50_000, 300_000))
		nA, nB := size.Draw(rt, "bytes there"), size.Draw(rt, "bytes back")
		a, b := s.connect(draw("there"), draw("back"))
		sentA, sentB := stream(1, nA), stream(2, nB)
		a.toWrite, b.toWrite = sentA, sentB
		if rapid.Bool().Draw(rt, "slow reader") {
			b.readRate = 100e3
		}
		s.run(10*time.Minute, func() bool { return b.core != nil && len(a.read) >= nB && len(b.read) >= nA })
		// A path that loses much may lose the whole handshake, or all retransmissions
		// of a minute; then the connection ends, but never with other bytes than
		// those sent.
		gaveUp := b.core == nil || a.core.err != nil || b.core.err != nil
		if !bytes.HasPrefix(sentA, b.read) || !bytes.HasPrefix(sentB, a.read) {
			rt.Fatal("other bytes came than were sent")
		}
		if !gaveUp && (len(b.read) != nA || len(a.read) != nB) {
			rt.Fatalf("at %v: %d of %d bytes arrived there and %d of %d back", s.now, len(b.read), nA, len(a.read), nB)
		}
		if gaveUp && a.path.loss+b.path.loss < 0.05 {
			rt.Fatalf("gave up: %v, %v", a.core.err, b.core)
		}
		if b.core == nil {
			return
		}
		a.core.close(a.now(s.now))
		b.core.close(b.now(s.now))
		if !s.run(s.now+time.Minute, func() bool { return a.core.state == stateClosed && b.core.state == stateClosed }) {
			rt.Fatalf("after close: states %d, %d", a.core.state, b.core.state)
		}
	})
}

// A link without loss is filled, for any delay and buffer.
func TestFillsLink(t *testing.T) {
	tests := []struct {
		name  string
		rate  float64
		delay time.Duration // one way
		queue time.Duration
		bytes int
	}{
		{"LAN", 12.5e6, 0, time.Second, 20 << 20},
		{"1 MB/s, 20 ms", 1e6, 10 * ms, time.Second, 8 << 20},
		{"1 MB/s, 200 ms", 1e6, 100 * ms, time.Second, 16 << 20},
		{"5 MB/s, 50 ms", 5e6, 25 * ms, time.Second, 25 << 20},
		{"100 kB/s, 30 ms", 100e3, 15 * ms, 2 * time.Second, 3 << 20},
		{"1 MB/s, 40 ms, little buffer", 1e6, 20 * ms, 60 * ms, 8 << 20},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newSim(t, 1)
			there := &path{rate: tt.rate, delay: tt.delay, queue: tt.queue}
			a, _ := transfer(t, s, there, &path{rate: tt.rate, delay: tt.delay}, tt.bytes, 0, time.Hour)
			share := float64(tt.bytes) / s.now.Seconds() / tt.rate
			t.Logf("%.3f of the link, %d packets, window %d, delay %v, rtt %v", share, a.sent, a.core.cc.window(), a.core.cc.delay(), a.core.rtt.smoothed)
			if share < 0.85 {
				t.Errorf("only %.3f of the link", share)
			}
		})
	}
}
