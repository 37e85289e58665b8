package utp

import (
	"testing"
	"time"
)

func TestRoundTrip(t *testing.T) {
	const ahead = 77_000_000 // µs by which the peer's clock is ahead of ours
	tests := []struct {
		name        string
		now         time.Duration // when the ack comes
		there, back time.Duration // delays of the packets
		elapsed     time.Duration
		want        time.Duration
	}{
		{"at once", time.Hour, 200 * ms, 100 * ms, 300 * ms, 300 * ms},
		{"kept back", time.Hour, 200 * ms, 100 * ms, 320 * ms, 320 * ms},
		{"after acks that were lost", time.Hour, 200 * ms, 100 * ms, 29 * time.Second, 300*ms + peerAckDelay},
		{"sent twice", time.Hour, 200 * ms, 100 * ms, 0, 300 * ms},
		{"clocks wrap around", (1<<32 + 50_000) * time.Microsecond, 200 * ms, 100 * ms, 0, 300 * ms},
		{"clock set back", time.Hour, 200 * ms, -time.Hour, 310 * ms, 310 * ms},
		{"clock set forward", time.Hour, 200 * ms, time.Hour, 310 * ms, 310 * ms},
		{"clock set, sent twice", time.Hour, 200 * ms, time.Hour, 0, 0},
		{"peer does not know the delay", time.Hour, -ahead * time.Microsecond, 100 * ms, 310 * ms, 310 * ms},
		{"peer does not know the delay, sent twice", time.Hour, -ahead * time.Microsecond, 100 * ms, 0, 0},
	}
	for _, tt := range tests {
		p := &packet{timestamp: micros(tt.now-tt.back) + ahead, delay: micros(tt.there) + ahead}
		if got := roundTrip(tt.now, p, tt.elapsed); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// Where a quarter of the packets is lost both ways, whole flights of acks are.
// The round trips that are measured are those of the path all the same: they do
// not grow with the time-outs that the losses cause.
func TestLostAcksDoNotSlowRetransmission(t *testing.T) {
	const (
		delay, jitter = 193 * ms, 200 * ms
		size          = 177_465
		shortest      = delay
		longest       = delay + jitter + peerAckDelay
		// What RFC 6298 can make of samples within these bounds.
		longestRTO = longest + 4*(longest-shortest)
		packets    = (size + basePayload - 1) / basePayload
	)
	var total time.Duration
	seeds := []uint64{0x2c} // the first transfer that was found to take ten minutes
	for seed := range uint64(30) {
		seeds = append(seeds, seed)
	}
	done := 0
	for _, seed := range seeds {
		s := newSim(t, seed)
		a, b := s.connect(&path{delay: delay, jitter: jitter, loss: 0.25, mtu: baseDatagram}, &path{loss: 0.25, dup: 0.5})
		b.toWrite = stream(2, size)
		s.step = func() {
			if b.core == nil || b.core.rtt.smoothed == 0 {
				return
			}
			if b.core.rtt.smoothed > longest || (b.core.retries == 0 && b.core.rtt.timeout > longestRTO) {
				t.Fatalf("seed %#x at %v: round trips of %v, time-out %v, on a path of at most %v",
					seed, s.now, b.core.rtt.smoothed, b.core.rtt.timeout, longest)
			}
		}
		s.run(time.Hour, func() bool { return len(a.read) == size || a.core.err != nil || (b.core != nil && b.core.err != nil) })
		if len(a.read) == size {
			total += s.now
			done++
		}
	}
	if done < len(seeds)*9/10 { // the others did not even connect
		t.Errorf("%d of %d transfers came to their end", done, len(seeds))
	}
	// The least window, at the pace of time-outs, is the least that is to be got.
	if took, most := total/time.Duration(done), packets/minPackets*longestRTO; took > most {
		t.Errorf("a transfer took %v, which is more than %v", took, most)
	}
}

// A packet that had to be sent again measures the path as well as any other.
func TestSecondTransmissionMeasures(t *testing.T) {
	s := newSim(t, 1)
	there := &path{delay: 150 * ms, loss: 1}
	a, _ := s.connect(there, &path{delay: 250 * ms})
	s.run(initialRTO/2, func() bool { return false }) // the SYN is lost
	there.loss = 0
	if !s.run(time.Minute, func() bool { return a.core.state == stateConnected }) {
		t.Fatal("no connection")
	}
	if a.core.rtt.smoothed != 400*ms {
		t.Errorf("a round trip of %v, want 400 ms", a.core.rtt.smoothed)
	}
}
