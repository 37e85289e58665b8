package choke

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"torrentfs/picker"
)

const (
	// Interval is the time between two rounds (BEP 3: ten seconds).
	Interval = 10 * time.Second

	optimisticInterval = 30 * time.Second
	newcomer           = time.Minute // for so long a connection counts thrice in the optimistic draw (BEP 3)
	turnTime           = time.Minute // how long a leecher is served by a seed before others get a turn
)

// Peer is what a round needs to know of a connection.
type Peer struct {
	ID         picker.PeerID
	Interested bool          // in what we have
	Snubbed    bool          // it sends us nothing although it could
	Since      time.Duration // when it connected
	Rate       float64       // what it sends us, bytes per second
}

// Action is one thing to tell a peer.
type Action struct {
	Peer  picker.PeerID
	Choke bool // its turn is over; else it is unchoked
}

// Choker hands out a torrent's upload slots. It belongs to one goroutine.
type Choker struct {
	slots int
	rand  *rand.Rand

	due       time.Duration
	turns     map[picker.PeerID]turn // of all peers that were unchoked once and are still connected
	unchoked  int                    // of turns
	optimists []optimist
}

// turn is when a peer was last unchoked.
type turn struct {
	began time.Duration
	on    bool // it still is
}

// optimist is a peer that was unchoked by chance.
type optimist struct {
	id picker.PeerID
	at time.Duration
}

// New returns a choker that has slots upload slots, of which none is taken. Equal generators and
// inputs give equal actions.
func New(slots int, r *rand.Rand) *Choker {
	return &Choker{slots: slots, rand: r, turns: map[picker.PeerID]turn{}}
}

// Unchoked reports whether a peer has a slot.
func (k *Choker) Unchoked(id picker.PeerID) bool { return k.turns[id].on }

// NextRound returns when [Choker.Round] is due; it may be in the past.
func (k *Choker) NextRound() time.Duration { return k.due }

// Interested records that a peer has become interested, and reports whether it gets a slot at once,
// because one is free.
func (k *Choker) Interested(now time.Duration, id picker.PeerID) bool {
	if k.Unchoked(id) || k.unchoked >= k.slots {
		return false
	}
	k.unchoke(now, id)
	return true
}

// Uninterested records that a peer no longer wants anything: a slot that it has goes to another one
// soon.
func (k *Choker) Uninterested(id picker.PeerID) {
	if k.Unchoked(id) {
		k.due = 0
	}
}

// Left records that a peer's connection has ended.
func (k *Choker) Left(id picker.PeerID) {
	if k.Unchoked(id) {
		k.unchoked--
		k.due = 0
	}
	delete(k.turns, id)
	k.optimists = slices.DeleteFunc(k.optimists, func(o optimist) bool { return o.id == id })
}

// ChangePolicy records that seeding has begun or ended: optimistic unchokes of before mean nothing
// now.
func (k *Choker) ChangePolicy() { k.optimists = nil }

// Round hands out the slots anew among all peers that are connected. Peers that lose their slot
// come first.
func (k *Choker) Round(now time.Duration, peers []Peer, seeding bool) []Action {
	k.due = now + Interval
	if k.slots == 0 {
		return nil
	}
	waiting := slices.DeleteFunc(slices.Clone(peers), func(p Peer) bool { return !p.Interested })
	var chosen []picker.PeerID
	if seeding {
		chosen = k.chooseTurns(now, waiting)
	} else {
		chosen = k.chooseReciprocal(now, waiting)
	}
	var out []Action
	for _, p := range peers {
		if k.Unchoked(p.ID) && !slices.Contains(chosen, p.ID) {
			k.turns[p.ID] = turn{began: k.turns[p.ID].began}
			k.unchoked--
			out = append(out, Action{p.ID, true})
		}
	}
	for _, id := range chosen {
		if !k.Unchoked(id) {
			k.unchoke(now, id)
			out = append(out, Action{id, false})
		}
	}
	return out
}

func (k *Choker) unchoke(now time.Duration, id picker.PeerID) {
	k.turns[id] = turn{now, true}
	k.unchoked++
}

// chooseReciprocal is tit-for-tat with an optimistic unchoke.
func (k *Choker) chooseReciprocal(now time.Duration, peers []Peer) []picker.PeerID {
	chance := max(1, k.slots/4)
	k.shuffle(peers)
	slices.SortStableFunc(peers, func(a, b Peer) int {
		if a.Snubbed != b.Snubbed {
			return falseFirst(a.Snubbed)
		}
		return cmp.Compare(b.Rate, a.Rate)
	})
	n := min(len(peers), k.slots-chance)
	var chosen []picker.PeerID
	for _, p := range peers[:n] {
		chosen = append(chosen, p.ID)
	}
	return append(chosen, k.chooseByChance(now, peers[n:], chance)...)
}

// chooseByChance keeps each optimistic unchoke for its time, then draws another; newcomers have
// three lots.
func (k *Choker) chooseByChance(now time.Duration, peers []Peer, n int) (chosen []picker.PeerID) {
	k.optimists = slices.DeleteFunc(k.optimists, func(o optimist) bool {
		i := slices.IndexFunc(peers, func(p Peer) bool { return p.ID == o.id })
		if i < 0 || now-o.at >= optimisticInterval {
			return true
		}
		peers = slices.Delete(peers, i, i+1)
		return false
	})
	for len(k.optimists) < n && len(peers) > 0 {
		i := k.draw(now, peers)
		k.optimists = append(k.optimists, optimist{peers[i].ID, now})
		peers = slices.Delete(peers, i, i+1)
	}
	for _, o := range k.optimists {
		chosen = append(chosen, o.id)
	}
	return chosen
}

// draw picks one peer by lot.
func (k *Choker) draw(now time.Duration, peers []Peer) (chosen int) {
	lots := 0
	for i, p := range peers {
		w := 1
		if now-p.Since < newcomer {
			w = 3
		}
		lots += w
		if k.rand.IntN(lots) < w {
			chosen = i
		}
	}
	return chosen
}

// chooseTurns serves the waiting in the order in which they were last served; a peer that is being
// served keeps its slot until its turn is over.
func (k *Choker) chooseTurns(now time.Duration, peers []Peer) []picker.PeerID {
	k.shuffle(peers)
	inTurn := func(p Peer) bool { return k.Unchoked(p.ID) && now-k.turns[p.ID].began < turnTime }
	slices.SortStableFunc(peers, func(a, b Peer) int {
		if x, y := inTurn(a), inTurn(b); x != y {
			return falseFirst(y)
		}
		return cmp.Compare(k.turns[a.ID].began, k.turns[b.ID].began) // longest ago first
	})
	var chosen []picker.PeerID
	for _, p := range peers[:min(len(peers), k.slots)] {
		chosen = append(chosen, p.ID)
	}
	return chosen
}

func (k *Choker) shuffle(peers []Peer) {
	k.rand.Shuffle(len(peers), func(i, j int) { peers[i], peers[j] = peers[j], peers[i] })
}

// falseFirst orders two that differ in a fact, of which the first is a.
func falseFirst(a bool) int {
	if a {
		return 1
	}
	return -1
}

// CheckInvariants reports the first contradiction in the choker's state, for tests.
func (k *Choker) CheckInvariants() error {
	on := 0
	for _, t := range k.turns {
		if t.on {
			on++
		}
	}
	if on != k.unchoked || on > k.slots {
		return fmt.Errorf("%d peers are unchoked, %d counted, of %d slots", on, k.unchoked, k.slots)
	}
	if chance := max(1, k.slots/4); len(k.optimists) > chance {
		return fmt.Errorf("%d optimistic unchokes, %d slots for them", len(k.optimists), chance)
	}
	return nil
}
