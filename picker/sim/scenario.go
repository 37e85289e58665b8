package sim

import (
	"math"
	"time"
)

// Scenario is a swarm to try.
type Scenario struct {
	Name  string
	About string
	Peers []PeerSpec
	Down  float64 // bytes/s of our downlink; 0: no limit
}

const ms = time.Millisecond

func mbit(x float64) float64 { return x * 1e6 / 8 }

// Scenarios returns all known swarms, in the order in which they are told about.
func Scenarios() []Scenario {
	return []Scenario{
		{"netns5", "5 × 20 Mbit/s, 40 ms, libtorrent", equal(5, Libtorrent, false), 0},
		{"netns5tr", "the same, peers that ignore CANCEL", equal(5, Transmission, false), 0},
		{"pulse5", "the same, peers that turn to new requests every 500 ms", pulsing(equal(5, Transmission, false)), 0},
		{"lossy5", "the same, retransmission timeouts that hold up 0.5 % of the blocks", lossy(equal(5, Libtorrent, false)), 0},
		{"nofast5", "the same, peers without the Fast extension", equal(5, Libtorrent, true), 0},
		{"netns5h", "40/20/20/8/2 Mbit/s at 20 to 200 ms", unequal(), 0},
		{"hetero30", "4 fast, 8 medium, 15 slow, 3 dead; stalls, chokes, partial seeds", hetero(1), 0},
		{"heteroslow", "hetero30 at a third of the rates", hetero(0.33), 0},
		{"manyslow40", "40 × 0.5 to 2.5 Mbit/s, stalls", manySlow(), 0},
		{"down100", "12 seeds behind our downlink of 100 Mbit/s", downlink(), mbit(100)},
		{"local1", "one seed of 250 MB/s on the same machine, which a busy scheduler holds up by milliseconds", local(1), 0},
		{"localpulse1", "one seed of 250 MB/s on the same machine, which turns to new requests every 500 ms", pulsing(local(1)), 0},
		{"local4", "four of them behind 500 MB/s", local(4), 500e6},
	}
}

// ScenarioNamed finds a scenario.
func ScenarioNamed(name string) (Scenario, bool) {
	for _, s := range Scenarios() {
		if s.Name == name {
			return s, true
		}
	}
	return Scenario{}, false
}

// everyThird makes each third peer behave like Transmission.
func everyThird(i int) Kind {
	if i%3 == 2 {
		return Transmission
	}
	return Libtorrent
}

func equal(n int, k Kind, slow bool) []PeerSpec {
	var s []PeerSpec
	for range n {
		s = append(s, PeerSpec{Rate: mbit(20), RTT: 40 * ms, Jitter: ms, Kind: k, Reqq: 500, Avail: 1, Slow: slow})
	}
	return s
}

func pulsing(s []PeerSpec) []PeerSpec {
	for i := range s {
		s[i].Pulse = 500 * ms
	}
	return s
}

func lossy(s []PeerSpec) []PeerSpec {
	for i := range s {
		s[i].Loss = 0.005
	}
	return s
}

func unequal() []PeerSpec {
	var s []PeerSpec
	for i, rate := range []float64{40, 20, 20, 8, 2} {
		rtt := []time.Duration{20, 40, 60, 100, 200}[i] * ms
		s = append(s, PeerSpec{Rate: mbit(rate), RTT: rtt, Jitter: 2 * ms, Kind: Kind(i % 2), Reqq: 500, Avail: 1})
	}
	return s
}

func hetero(scale float64) []PeerSpec {
	var s []PeerSpec
	group := func(n int, slowest, fastest float64, near, far time.Duration, avail, choking float64) {
		for i := range n {
			x := float64(i) / math.Max(1, float64(n-1))
			p := PeerSpec{
				Rate: mbit(scale * slowest * math.Pow(fastest/slowest, x)), RTT: near + time.Duration(float64(far-near)*x),
				Jitter: 5 * ms, Sigma: 0.25, StallPct: 0.01, StallFor: 2 * time.Second, Kind: everyThird(i), Reqq: 250, Avail: avail,
			}
			if float64(i) < choking*float64(n) {
				p.ChokeOn, p.ChokeOff = 60*time.Second, 15*time.Second
			}
			s = append(s, p)
		}
	}
	group(4, 12, 40, 30*ms, 90*ms, 1, 0)
	group(8, 2, 8, 40*ms, 150*ms, 0.9, 0.4)
	group(10, 0.2, 0.8, 80*ms, 300*ms, 0.7, 0.4)
	group(5, 0.02, 0.06, 150*ms, 400*ms, 0.7, 0.2)
	for range 3 {
		s = append(s, PeerSpec{Rate: mbit(1), RTT: 100 * ms, Dead: true, Reqq: 250, Avail: 1})
	}
	return s
}

func manySlow() []PeerSpec {
	var s []PeerSpec
	for i := range 40 {
		s = append(s, PeerSpec{
			Rate: mbit(0.5 + 0.05*float64(i)), RTT: time.Duration(40+5*i) * ms, Jitter: 5 * ms, Sigma: 0.25,
			StallPct: 0.01, StallFor: 2 * time.Second, Kind: everyThird(i), Reqq: 250, Avail: 0.9,
		})
	}
	return s
}

func downlink() []PeerSpec {
	var s []PeerSpec
	for i := range 12 {
		s = append(s, PeerSpec{
			Rate: mbit(10 + 3*float64(i)), RTT: time.Duration(20+10*i) * ms, Jitter: 2 * ms, Sigma: 0.2,
			StallPct: 0.01, StallFor: 2 * time.Second, Kind: everyThird(i), Reqq: 500, Avail: 1,
		})
	}
	return s
}

func local(n int) []PeerSpec {
	var s []PeerSpec
	for range n {
		s = append(s, PeerSpec{Rate: 250e6, RTT: 100 * time.Microsecond, Jitter: 2 * ms, Kind: Libtorrent, Reqq: 500, Avail: 1})
	}
	return s
}
