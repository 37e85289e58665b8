package swarm

import (
	"math/rand/v2"
	"slices"
	"time"

	"torrentfs/picker"
)

const (
	optimisticInterval = 30 * time.Second
	newcomer           = time.Minute // for so long a connection counts thrice in the optimistic draw (BEP 3)
	turnTime           = time.Minute // how long a leecher is served by a seed before others get a turn
)

// chokerPeer is what the choker knows of a peer.
type chokerPeer struct {
	id         picker.PeerID
	wants      bool // interested in us
	unchoked   bool
	snubbed    bool          // sent us nothing though it could
	since      time.Duration // of the connection
	unchokedAt time.Duration // last
	downRate   float64       // what it sends us, bytes per second
	turnBytes  int64         // sent to it since it was unchoked
}

// choker decides who may download from us (BEP 3, "choking"). While we lack
// pieces: tit-for-tat, the slots go to those who send us most, and one in four
// goes to somebody by chance. Once we have everything: in turns, so that all
// get the same. It is pure policy; the torrent's loop owns it.
type choker struct {
	slots int
	rand  *rand.Rand

	optimists []optimist
}

// optimist is a peer that was unchoked by chance.
type optimist struct {
	id picker.PeerID
	at time.Duration
}

// restart forgets the optimistic unchokes when the policy changes.
func (k *choker) restart() { k.optimists = nil }

// choose returns the peers that are to be unchoked.
func (k *choker) choose(now time.Duration, peers []chokerPeer, seeding bool) []picker.PeerID {
	peers = slices.DeleteFunc(slices.Clone(peers), func(p chokerPeer) bool { return !p.wants })
	if seeding {
		return k.chooseTurns(now, peers)
	}
	return k.chooseReciprocal(now, peers)
}

// chooseReciprocal is tit-for-tat with an optimistic unchoke.
func (k *choker) chooseReciprocal(now time.Duration, peers []chokerPeer) []picker.PeerID {
	chance := max(1, k.slots/4)
	k.rand.Shuffle(len(peers), func(i, j int) { peers[i], peers[j] = peers[j], peers[i] })
	slices.SortStableFunc(peers, func(a, b chokerPeer) int {
		if a.snubbed != b.snubbed {
			if a.snubbed {
				return 1
			}
			return -1
		}
		return compareDesc(a.downRate, b.downRate)
	})
	n := min(len(peers), k.slots-chance)
	var chosen []picker.PeerID
	for _, p := range peers[:n] {
		chosen = append(chosen, p.id)
	}
	return append(chosen, k.chooseByChance(now, peers[n:], chance)...)
}

// chooseByChance keeps each optimistic unchoke for its time, then draws
// another; newcomers have three lots.
func (k *choker) chooseByChance(now time.Duration, peers []chokerPeer, n int) (chosen []picker.PeerID) {
	k.optimists = slices.DeleteFunc(k.optimists, func(o optimist) bool {
		i := slices.IndexFunc(peers, func(p chokerPeer) bool { return p.id == o.id })
		if i < 0 || now-o.at >= optimisticInterval {
			return true
		}
		peers = slices.Delete(peers, i, i+1)
		return false
	})
	for len(k.optimists) < n && len(peers) > 0 {
		i := k.draw(now, peers)
		k.optimists = append(k.optimists, optimist{peers[i].id, now})
		peers = slices.Delete(peers, i, i+1)
	}
	for _, o := range k.optimists {
		chosen = append(chosen, o.id)
	}
	return chosen
}

// draw picks one peer by lot.
func (k *choker) draw(now time.Duration, peers []chokerPeer) (chosen int) {
	lots := 0
	for i, p := range peers {
		w := 1
		if now-p.since < newcomer {
			w = 3
		}
		lots += w
		if k.rand.IntN(lots) < w {
			chosen = i
		}
	}
	return chosen
}

// chooseTurns serves the waiting in the order in which they were last served;
// whoever is being served keeps the slot until the turn is over.
func (k *choker) chooseTurns(now time.Duration, peers []chokerPeer) []picker.PeerID {
	k.rand.Shuffle(len(peers), func(i, j int) { peers[i], peers[j] = peers[j], peers[i] })
	inTurn := func(p chokerPeer) bool { return p.unchoked && now-p.unchokedAt < turnTime }
	slices.SortStableFunc(peers, func(a, b chokerPeer) int {
		if x, y := inTurn(a), inTurn(b); x != y {
			if x {
				return -1
			}
			return 1
		}
		return compareDesc(b.unchokedAt, a.unchokedAt) // longest ago first
	})
	var chosen []picker.PeerID
	for _, p := range peers[:min(len(peers), k.slots)] {
		chosen = append(chosen, p.id)
	}
	return chosen
}

func compareDesc[T float64 | time.Duration](a, b T) int {
	switch {
	case a > b:
		return -1
	case a < b:
		return 1
	}
	return 0
}
