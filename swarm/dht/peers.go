package dht

import (
	"math/rand/v2"
	"net/netip"
	"time"
)

const (
	peerLife       = 45 * time.Minute // after its last announce
	maxSwarms      = 2000             // info-hashes kept
	maxSwarmPeers  = 300              // peers kept of one info-hash
	maxSamples     = 20               // info-hashes in an answer (BEP 51)
	sampleInterval = 10 * time.Minute // the same ones are given for so long
	expireInterval = time.Minute      // between looks at all of the store
	candidates     = 16               // looked at to find one that can go
)

// peerStore keeps the peers that others announced to us. It takes the time as
// an argument and its owner's lock.
type peerStore struct {
	rnd    *rand.Rand
	swarms map[nodeID]*peerSwarm

	expired time.Time // when all of it was last looked at
	samples []nodeID  // drawn at sampled
	sampled time.Time
}

type peerSwarm struct {
	peers map[netip.AddrPort]time.Time // last announced
	last  time.Time                    // the latest of them
}

func newPeerStore(rnd *rand.Rand) *peerStore {
	return &peerStore{rnd: rnd, swarms: make(map[nodeID]*peerSwarm)}
}

// add notes an announce. Where there is no room, of some drawn at random the
// info-hash or the peer that was announced least recently makes it: a flood of
// announces must not cost a search through all of them each.
func (s *peerStore) add(now time.Time, infoHash nodeID, peer netip.AddrPort) {
	sw := s.swarms[infoHash]
	if sw == nil {
		if len(s.swarms) >= maxSwarms && now.Sub(s.expired) >= expireInterval {
			s.expire(now)
		}
		if len(s.swarms) >= maxSwarms {
			delete(s.swarms, s.stalest())
		}
		sw = &peerSwarm{peers: make(map[netip.AddrPort]time.Time)}
		s.swarms[infoHash] = sw
	}
	if _, known := sw.peers[peer]; !known && len(sw.peers) >= maxSwarmPeers {
		delete(sw.peers, sw.stalest())
	}
	sw.peers[peer] = now
	sw.last = now
}

// get returns at most n peers, drawn evenly.
func (s *peerStore) get(now time.Time, infoHash nodeID, n int) []netip.AddrPort {
	sw := s.swarms[infoHash]
	if sw == nil {
		return nil
	}
	var out []netip.AddrPort
	seen := 0
	for p, at := range sw.peers {
		if now.Sub(at) >= peerLife {
			continue
		}
		seen++
		if len(out) < n {
			out = append(out, p)
		} else if i := s.rnd.IntN(seen); i < n {
			out[i] = p
		}
	}
	return out
}

// sample returns some of the info-hashes, for how long it will go on to return
// just these, and how many there are.
func (s *peerStore) sample(now time.Time) (some []nodeID, again time.Duration, total int) {
	age := now.Sub(s.sampled)
	if s.sampled.IsZero() || age >= sampleInterval {
		s.expire(now)
		s.samples, s.sampled, age = nil, now, 0
		seen := 0
		for h := range s.swarms {
			seen++
			if len(s.samples) < maxSamples {
				s.samples = append(s.samples, h)
			} else if i := s.rnd.IntN(seen); i < maxSamples {
				s.samples[i] = h
			}
		}
	}
	return s.samples, sampleInterval - age, len(s.swarms)
}

// expire drops peers that are too old.
func (s *peerStore) expire(now time.Time) {
	s.expired = now
	for h, sw := range s.swarms {
		if now.Sub(sw.last) >= peerLife {
			delete(s.swarms, h)
			continue
		}
		sw.expire(now)
	}
}

// stalest draws some info-hashes and returns the stalest of them.
func (s *peerStore) stalest() (oldest nodeID) {
	var last time.Time
	n := 0
	for h, sw := range s.swarms { // begins anywhere
		if n++; n > candidates {
			break
		}
		if last.IsZero() || sw.last.Before(last) {
			oldest, last = h, sw.last
		}
	}
	return oldest
}

func (sw *peerSwarm) expire(now time.Time) {
	for p, at := range sw.peers {
		if now.Sub(at) >= peerLife {
			delete(sw.peers, p)
		}
	}
}

func (sw *peerSwarm) stalest() (oldest netip.AddrPort) {
	var last time.Time
	n := 0
	for p, at := range sw.peers {
		if n++; n > candidates {
			break
		}
		if last.IsZero() || at.Before(last) {
			oldest, last = p, at
		}
	}
	return oldest
}
