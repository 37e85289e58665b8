package sim

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"torrentfs/picker"
)

// TestInvariants plays short runs in every swarm with the picker's state checked after each step.
func TestInvariants(t *testing.T) {
	for _, sc := range Scenarios() {
		for _, leaf := range []bool{false, true} {
			if leaf && sc.Name != "netns5" && sc.Name != "hetero30" {
				continue
			}
			name := sc.Name + "/v1"
			if leaf {
				name = sc.Name + "/v2"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s := Setup{Scenario: sc, Piece: 256 << 10, Leaf: leaf, Busy: true, Seed: 7, Check: true}
				if r := Full(s, 8<<20); !r.Done {
					t.Error("download did not end")
				}
				w := s.world(32 << 20)
				w.Start()
				w.client.download(true)
				served := 0
				for i := range int64(24) {
					var id picker.ReadID
					w.at(time.Duration(i)*150*time.Millisecond, func() {
						off := i * 99 << 14 % (w.client.g.Size() - 1<<20)
						id = w.client.read(picker.ReaderID(i%3), off, 64<<10, func(*Read) { served++ })
					})
					if i%4 == 3 {
						w.at(time.Duration(i)*150*time.Millisecond+60*time.Millisecond, func() { w.client.cancelRead(id) })
					}
				}
				w.Run(5 * time.Second)
				if served < 12 {
					t.Errorf("%d of 24 reads served", served)
				}
			})
		}
	}
}

// The limits below are those of the project's goals, or a little above what short runs with few reads measure; the command
// pickersim measures at length.

func TestSeekRatio(t *testing.T) {
	tests := []struct {
		scenario      string
		busy          bool
		p95           float64 // of the ratio to the bound
		wasted        float64 // share of bytes
		leaf          bool
		pieceKiB, num int
	}{
		{"netns5", true, 1.20, 0.01, false, 1024, 30},
		{"netns5", false, 1.10, 0.10, false, 1024, 30},
		{"netns5tr", true, 1.20, 0.01, false, 1024, 30},
		{"pulse5", true, 1.60, 0.01, false, 1024, 30},
		{"nofast5", true, 1.20, 0.01, false, 1024, 30},
		{"netns5h", true, 1.28, 0.01, false, 1024, 30},
		{"netns5h", false, 1.15, 0.10, false, 1024, 30},
		{"hetero30", true, 2.1, 0.033, false, 1024, 30},
		{"hetero30", false, 1.70, 0.10, false, 1024, 30},
		{"manyslow40", true, 2.60, 0.033, false, 1024, 15},
		{"manyslow40", false, 2.20, 0.10, false, 1024, 15},
		{"netns5", true, 1.10, 0.01, false, 16384, 5},
		{"netns5", true, 1.50, 0.01, false, 256, 30},
	}
	for _, tt := range tests {
		name := fmt.Sprintf("%s/busy=%v/%dK", tt.scenario, tt.busy, tt.pieceKiB)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t, tt.scenario, tt.busy)
			s.Piece, s.Leaf = int64(tt.pieceKiB)<<10, tt.leaf
			r := Seek(s, tt.num, 500*time.Millisecond)
			if got := Percentile(r.Ratios(), .95); !(got <= tt.p95) {
				t.Errorf("p95 of the ratio to the bound: got %.2f, want at most %.2f", got, tt.p95)
			}
			if r.Failed > 0 || r.Wasted > tt.wasted {
				t.Errorf("%d reads failed, %.3f wasted, want at most %.3f", r.Failed, r.Wasted, tt.wasted)
			}
		})
	}
}

// TestLeafReadsDoNotDependOnPieces: where blocks verify one by one, a 64 KiB read of a 16 MiB piece costs a few blocks.
func TestLeafReadsDoNotDependOnPieces(t *testing.T) {
	s := setup(t, "netns5", true)
	s.Piece, s.Leaf = 16<<20, true
	r := Seek(s, 20, 500*time.Millisecond)
	var over []float64
	for _, x := range r.Reads {
		over = append(over, (x.Took-x.Bound).Seconds()*1e3)
	}
	if got := Percentile(over, .95); !(got <= 40) {
		t.Errorf("p95 beyond the bound: got %.0f ms, want at most 40", got)
	}
}

func TestFirstReadOfAFreshSwarm(t *testing.T) {
	for name, most := range map[string]float64{"netns5": 1.15, "netns5h": 1.40, "hetero30": 1.95, "manyslow40": 1.90} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := Cold(setup(t, name, false), 5)
			if got := Percentile(r.Ratios(), .95); !(got <= most) {
				t.Errorf("p95 of the ratio to the bound: got %.2f, want at most %.2f", got, most)
			}
		})
	}
}

func TestReadingInOrderFillsTheLink(t *testing.T) {
	for name, least := range map[string]float64{"netns5": 0.97, "netns5h": 0.95, "hetero30": 0.90, "down100": 0.93, "local1": 0.95} {
		for _, busy := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/busy=%v", name, busy), func(t *testing.T) {
				t.Parallel()
				r := Sequential(setup(t, name, busy), 3)
				sum := 0.0
				for _, x := range r.Seconds[1:] {
					sum += x / float64(len(r.Seconds)-1)
				}
				if sum < least {
					t.Errorf("share of the link after the first second: got %.2f %.2f, want %.2f", sum, r.Seconds, least)
				}
			})
		}
	}
}

// TestPulsingPeersReachTheLink: a queue of a few blocks would leave them at 4 and 1 % of it.
func TestPulsingPeersReachTheLink(t *testing.T) {
	for _, name := range []string{"pulse5", "localpulse1"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := Sequential(setup(t, name, true), 5)
			if r.Seconds[4] < 0.95 {
				t.Errorf("share of the link by second: got %.2f, want 0.95 in the last", r.Seconds)
			}
		})
	}
}

func TestPlayerDoesNotStall(t *testing.T) {
	for _, name := range []string{"netns5h", "hetero30", "down100"} {
		for _, busy := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/busy=%v", name, busy), func(t *testing.T) {
				t.Parallel()
				r := Play(setup(t, name, busy), mbit(25), 1)
				if r.Stalled > 0 || len(r.Start) < 1 || slices.Max(r.Start) > 2 {
					t.Errorf("stalled for %v, started after %.2f s", r.Stalled, r.Start)
				}
			})
		}
	}
}

func TestFullDownload(t *testing.T) {
	for _, sc := range Scenarios() {
		if sc.Name == "heteroslow" || sc.Name == "local4" || sc.Name == "localpulse1" {
			continue // the last 5 % of so little are a matter of chance, or the first pulses are most of it
		}
		t.Run(sc.Name, func(t *testing.T) {
			t.Parallel()
			size := int64(128 << 20)
			if sc.Peers[0].Rate > 100e6 {
				size = 768 << 20 // a second and more
			}
			r := Full(setup(t, sc.Name, true), size)
			if !r.Done || r.Rate < 0.85 || r.Last > 1.5 || r.Wasted > 0.01 {
				t.Errorf("done %v, %.2f of capacity, last 5 %% in %.2f of ideal, %.3f wasted", r.Done, r.Rate, r.Last, r.Wasted)
			}
		})
	}
}

func setup(t *testing.T, name string, busy bool) Setup {
	t.Helper()
	sc, ok := ScenarioNamed(name)
	if !ok {
		t.Fatalf("no scenario %q", name)
	}
	return Setup{Scenario: sc, Piece: 1 << 20, Busy: busy, Seed: 1}
}
