package picker

import (
	"testing"
	"time"
)

// TestBursts plays how a peer's blocks come to the judgement of its bursts alone.
func TestBursts(t *testing.T) {
	const rtt = 0.001
	tests := []struct {
		name  string
		pause float64 // s between bursts
		each  float64 // s between the blocks of one
		limit int     // blocks that the peer sends in one; 0: all of its queue
		least float64 // learned queue after 8 bursts
		most  float64
	}{
		{"a queue per pulse", 0.5, 50e-6, 0, 400, maxDeep},
		{"a quota per pulse", 0.5, 50e-6, 16, 16, 44},
		{"block by block", 0.4, 0, 1, 0, 0},
		{"rarely", 2, 50e-6, 0, 0, 0},
		{"for longer than it pauses", 0.1, 0.05, 0, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pr := &peer{reqq: 4096}
			pr.init(time.Duration(rtt * 1e9))
			now := 0.0
			for range 8 {
				sent := now
				depth := max(4, int(pr.deep))
				for pr.ring.n < depth {
					pr.ring.push(request{sent: sent})
				}
				now += rtt + tt.pause
				n := depth
				if tt.limit > 0 {
					n = min(n, tt.limit)
				}
				for range n {
					x := pr.ring.remove(0)
					pr.followBursts(now, &x)
					pr.lastArr = now
					now += tt.each
				}
			}
			if pr.deep < tt.least || pr.deep > tt.most {
				t.Errorf("learned queue: got %.0f, want %.0f to %.0f", pr.deep, tt.least, tt.most)
			}
		})
	}
}

// TestOneLossIsNoPulse: once a peer is known, a retransmission's pause does not make its queue grow.
func TestOneLossIsNoPulse(t *testing.T) {
	pr := &peer{}
	pr.init(40 * time.Millisecond)
	pr.startup = false
	now := 0.0
	for i := range 400 {
		for pr.ring.n < 12 {
			pr.ring.push(request{sent: now})
		}
		now += 0.0065
		if i%60 == 59 { // a timeout, then all that was outstanding at once
			now += 0.24
			for range 11 {
				x := pr.ring.remove(0)
				pr.followBursts(now, &x)
				pr.lastArr = now
			}
		}
		x := pr.ring.remove(0)
		pr.followBursts(now, &x)
		pr.lastArr = now
	}
	if pr.deep != 0 {
		t.Errorf("learned queue: got %.0f, want none", pr.deep)
	}
}
