package sim

import (
	"math/rand/v2"
	"time"

	"torrentfs/metainfo"
	"torrentfs/picker"
)

const bufferBloat = 30 * time.Millisecond // queueing delay of a saturated downlink

// World is a swarm, its wires and one client in virtual time.
type World struct {
	now     time.Duration
	events  queue
	rng     *rand.Rand
	remotes []*remote
	client  *client
	down    float64 // bytes/s of the downlink; 0: no limit
	stopped bool

	saturated bool

	Received, Wasted       int64 // bytes that came, and of these the duplicates
	Cancels, CancelsObeyed int64
}

// NewWorld builds a swarm around a fresh picker.
func NewWorld(seed uint64, g metainfo.Geometry, cfg picker.Config, specs []PeerSpec, down float64) *World {
	w := &World{rng: rand.New(rand.NewPCG(seed, 0x73696d)), down: down}
	for i, s := range specs {
		r := &remote{PeerSpec: s, w: w, id: picker.PeerID(i), noise: 1, choked: true}
		r.have = make([]uint64, (g.NumPieces()+63)/64)
		for piece := range g.NumPieces() {
			if s.Avail >= 1 || w.rng.Float64() < s.Avail {
				r.have[piece>>6] |= 1 << (uint(piece) & 63)
			}
		}
		w.remotes = append(w.remotes, r)
	}
	w.client = newClient(w, g, cfg, seed)
	return w
}

// Start connects all peers.
func (w *World) Start() {
	for _, r := range w.remotes {
		w.client.connect(r)
		r.start()
	}
}

func (w *World) at(t time.Duration, run func())    { w.events.push(max(t, w.now), run) }
func (w *World) after(d time.Duration, run func()) { w.at(w.now+d, run) }

func (w *World) exp(mean float64) time.Duration {
	return time.Duration(w.rng.ExpFloat64() * mean * 1e9)
}

// Stop ends Run after the current event.
func (w *World) Stop() { w.stopped = true }

// Run plays events until a moment, or until Stop.
func (w *World) Run(until time.Duration) {
	for len(w.events.heap) > 0 && !w.stopped {
		if w.events.heap[0].at > until {
			w.now = until
			return
		}
		e := w.events.pop()
		w.now = e.at
		e.run()
	}
}

// share recomputes rates after one remote's demand or capacity changed: all that it can while the downlink allows, else a max-min
// fair share of it.
func (w *World) share(changed *remote) {
	if w.down <= 0 {
		changed.setRate(changed.capacity())
		return
	}
	sum, n := 0.0, 0
	for _, r := range w.remotes {
		if r.sending && r.capacity() > 0 {
			sum += r.capacity()
			n++
		}
	}
	if sum <= w.down {
		was := w.saturated
		w.saturated = false
		if !was {
			changed.setRate(changed.capacity())
			return
		}
		for _, r := range w.remotes {
			r.setRate(r.capacity())
		}
		return
	}
	w.saturated = true
	fair := w.fairShare(n)
	for _, r := range w.remotes {
		r.setRate(min(r.capacity(), fair))
	}
}

// fairShare is the rate at which the n sending remotes that could exceed it, with the others at their own, fill the downlink.
func (w *World) fairShare(n int) float64 {
	left := w.down
	fair := left / float64(n)
	settled := make([]bool, len(w.remotes))
	for changed := true; changed && n > 0; {
		changed = false
		for i, r := range w.remotes {
			if c := r.capacity(); r.sending && !settled[i] && c > 0 && c <= fair {
				settled[i], changed = true, true
				left -= c
				n--
			}
		}
		if n > 0 {
			fair = left / float64(n)
		}
	}
	return fair
}

// Capacity is what the swarm can send on average, bytes/s.
func (w *World) Capacity() float64 {
	sum := 0.0
	for _, r := range w.remotes {
		if r.Dead {
			continue
		}
		up := 1.0
		if r.ChokeOn > 0 {
			up = float64(r.ChokeOn) / float64(r.ChokeOn+r.ChokeOff)
		}
		sum += r.Rate * up * (1 - r.StallPct)
	}
	if w.down > 0 {
		sum = min(sum, w.down)
	}
	return sum
}
