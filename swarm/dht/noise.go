package dht

import (
	"net/netip"
	"time"
)

const (
	noiseWindow = 10 * time.Second
	noiseLimit  = 50              // unasked packets of one source in a window
	noiseBlock  = 5 * time.Minute // for more than that
	noiseKeep   = 1024            // sources watched
)

// noise finds the senders that flood us. The zero value is ready.
type noise struct {
	sources map[netip.Prefix]*noiseSource
	swept   time.Time
}

type noiseSource struct {
	since   time.Time // begin of the window
	packets int
	blocked time.Time // until then
}

// allow counts an unsolicited packet, and reports whether it may be looked at. An IPv6 host can
// choose among the addresses of its network, so they count as one.
func (n *noise) allow(now time.Time, from netip.Addr) bool {
	bits := 32
	if from.Is6() {
		bits = 64
	}
	key, err := from.Prefix(bits)
	if err != nil {
		return false
	}
	s := n.sources[key]
	if s == nil {
		if n.sources == nil {
			n.sources = make(map[netip.Prefix]*noiseSource)
		}
		n.makeRoom(now)
		s = &noiseSource{since: now}
		n.sources[key] = s
	}
	if now.Before(s.blocked) {
		return false
	}
	if now.Sub(s.since) >= noiseWindow {
		s.since, s.packets = now, 0
	}
	s.packets++
	if s.packets > noiseLimit {
		s.blocked = now.Add(noiseBlock)
		return false
	}
	return true
}

// blocked counts the sources that are ignored.
func (n *noise) blocked(now time.Time) (count int) {
	for _, s := range n.sources {
		if now.Before(s.blocked) {
			count++
		}
	}
	return count
}

// makeRoom forgets the quiet senders, or any one if all are noisy.
func (n *noise) makeRoom(now time.Time) {
	if len(n.sources) < noiseKeep {
		return
	}
	if now.Sub(n.swept) >= noiseWindow { // not for every packet of a flood
		n.swept = now
		for k, s := range n.sources {
			if now.After(s.blocked) && now.Sub(s.since) >= noiseWindow {
				delete(n.sources, k)
			}
		}
	}
	for k := range n.sources {
		if len(n.sources) < noiseKeep {
			return
		}
		delete(n.sources, k)
	}
}
