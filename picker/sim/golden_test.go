package sim

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the golden traces in testdata")

// TestGolden replays small swarms and compares everything that happened with testdata/NAME.txt, a trace for a person to read:
// milliseconds, what came in, and indented what the picker decided. Blocks are piece/block.
func TestGolden(t *testing.T) {
	fast := PeerSpec{Rate: mbit(16), RTT: 20 * ms, Reqq: 250, Avail: 1}
	slow := PeerSpec{Rate: mbit(2), RTT: 80 * ms, Reqq: 250, Avail: 1}
	dead := PeerSpec{Rate: mbit(16), RTT: 20 * ms, Reqq: 250, Avail: 1, Dead: true}
	pulsing := PeerSpec{Rate: 1e9, RTT: ms, Reqq: 250, Avail: 1, Kind: Transmission, Pulse: 300 * ms}
	deaf, mute := fast, fast
	deaf.Kind, mute.Slow = Transmission, true
	tests := []struct {
		name  string
		peers []PeerSpec
		busy  bool
		leaf  bool
		play  func(w *World)
	}{
		// The first read of a fresh swarm: all peers are tried, the slow one gets what it can finish.
		{"cold", []PeerSpec{fast, fast, slow}, false, false, func(w *World) {
			w.at(100*ms, func() { w.client.read(1, 300<<10, 64<<10, func(*Read) { w.Stop() }) })
		}},
		// A seek while a download fills the pipes: what is far enough from the wire is cancelled.
		{"seek", []PeerSpec{fast, slow}, true, false, func(w *World) {
			w.at(2*time.Second, func() { w.client.trace.(*gate).open = true })
			w.at(2*time.Second, func() { w.client.read(1, 900<<16, 64<<10, func(*Read) { w.Stop() }) })
		}},
		// A peer that takes requests and never answers: its blocks are hedged, then it is a suspect.
		{"dead", []PeerSpec{fast, dead}, false, false, func(w *World) {
			w.at(100*ms, func() { w.client.read(1, 0, 64<<10, func(*Read) {}) })
		}},
		// A reader is cancelled: so are its requests, and a peer that ignores CANCEL sends them all the same.
		{"cancel", []PeerSpec{deaf}, false, false, func(w *World) {
			w.at(100*ms, func() {
				id := w.client.read(1, 0, 64<<10, func(*Read) {})
				w.after(70*ms, func() { w.client.cancelRead(id) })
			})
		}},
		// Without the Fast extension a choke drops requests, and nobody says so.
		{"choke", []PeerSpec{mute, slow}, false, false, func(w *World) {
			w.at(100*ms, func() { w.client.read(1, 0, 64<<10, func(*Read) { w.Stop() }) })
			w.at(150*ms, func() { w.remotes[0].setChoked(true) })
		}},
		// A download from a peer that turns to new requests every 300 ms, and before that is done with what it had: the queue grows.
		{"pulse", []PeerSpec{pulsing}, false, false, func(w *World) {
			w.at(100*ms, func() { w.client.download(true) })
			w.at(1100*ms, w.Stop)
		}},
		// Reading in order: the window opens and runs ahead of the reader.
		{"sequential", []PeerSpec{fast, fast}, false, true, func(w *World) {
			var next func(off int64)
			next = func(off int64) {
				w.client.read(1, off, 128<<10, func(*Read) {
					if off >= 512<<10 {
						w.Stop()
						return
					}
					next(off + 128<<10)
				})
			}
			w.at(100*ms, func() { next(0) })
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := Setup{Scenario: Scenario{Peers: tt.peers}, Piece: 256 << 10, Leaf: tt.leaf, Seed: 3, Check: true}
			w := s.world(256 << 20)
			out := &gate{open: !tt.busy}
			w.client.trace = out
			w.Start()
			if tt.busy {
				w.client.download(true)
			}
			tt.play(w)
			w.Run(4 * time.Second)
			compare(t, filepath.Join("testdata", tt.name+".txt"), out.Bytes())
		})
	}
}

// gate is a buffer that keeps what is written while it is open.
type gate struct {
	bytes.Buffer
	open bool
}

func (g *gate) Write(b []byte) (int, error) {
	if g.open {
		return g.Buffer.Write(b)
	}
	return len(b), nil
}

func compare(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("read golden trace: %v (make it with -update)", err)
	}
	g, w := bytes.Split(got, []byte("\n")), bytes.Split(want, []byte("\n"))
	for i := range min(len(g), len(w)) {
		if !bytes.Equal(g[i], w[i]) {
			t.Fatalf("%s:%d:\ngot  %s\nwant %s\n(-update accepts the change)", file, i+1, g[i], w[i])
		}
	}
	if len(g) != len(w) {
		t.Fatalf("%s: got %d lines, want %d (-update accepts the change)", file, len(g), len(w))
	}
}

// TestReplay has one log of events give the same actions twice.
func TestReplay(t *testing.T) {
	sc, _ := ScenarioNamed("hetero30")
	run := func() []byte {
		s := Setup{Scenario: sc, Piece: 512 << 10, Seed: 5}
		w := s.world(128 << 20)
		out := &gate{open: true}
		w.client.trace = out
		w.Start()
		w.client.download(true)
		for i := range int64(10) {
			w.at(time.Duration(i+2)*300*ms, func() { w.client.read(1, i*11<<20, 64<<10, func(*Read) {}) })
		}
		w.Run(6 * time.Second)
		return out.Bytes()
	}
	if a, b := run(), run(); len(a) == 0 || !bytes.Equal(a, b) {
		t.Errorf("two runs differ: %d and %d bytes of trace", len(a), len(b))
	}
}
