package swarm

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"torrentfs/picker"
)

func newTestChoker(slots int) *choker {
	return &choker{slots: slots, rand: rand.New(rand.NewPCG(1, 2))}
}

// The best contributors get the slots but those that chance gives away.
func TestChokerRewardsContribution(t *testing.T) {
	k := newTestChoker(8)
	var peers []chokerPeer
	for i := range 20 {
		peers = append(peers, chokerPeer{id: picker.PeerID(i), wants: true, downRate: float64(i) * 1000})
	}
	chosen := k.choose(time.Hour, peers, false)
	if len(chosen) != 8 {
		t.Fatalf("chose %d peers, want 8", len(chosen))
	}
	for id := picker.PeerID(14); id < 20; id++ {
		if !slices.Contains(chosen, id) {
			t.Errorf("contributor %d is choked; chosen %v", id, chosen)
		}
	}
}

func TestChokerIgnoresTheUninterestedAndPassesOverTheSnubbed(t *testing.T) {
	k := newTestChoker(4)
	peers := []chokerPeer{
		{id: 0, wants: false, downRate: 9e6},
		{id: 1, wants: true, downRate: 8e6, snubbed: true},
		{id: 2, wants: true, downRate: 1},
		{id: 3, wants: true, downRate: 2},
		{id: 4, wants: true, downRate: 3},
	}
	chosen := k.choose(time.Hour, peers, false)
	if slices.Contains(chosen, 0) {
		t.Error("unchoked a peer that is not interested")
	}
	for _, id := range []picker.PeerID{2, 3, 4} {
		if !slices.Contains(chosen, id) {
			t.Errorf("peer %d is choked in favour of a snubbed one; chosen %v", id, chosen)
		}
	}
}

// Everybody who waits is unchoked by chance before long, newcomers sooner.
func TestChokerOptimisticUnchokeReachesEverybody(t *testing.T) {
	k := newTestChoker(4)
	served := map[picker.PeerID]int{}
	var peers []chokerPeer
	for i := range 12 {
		peers = append(peers, chokerPeer{id: picker.PeerID(i), wants: true, downRate: float64(100 - i)})
	}
	for now := time.Hour; now < 2*time.Hour; now += chokeInterval {
		for _, id := range k.choose(now, peers, false) {
			served[id]++
		}
	}
	for _, p := range peers {
		if served[p.id] == 0 {
			t.Errorf("peer %d was never unchoked in an hour", p.id)
		}
	}
}

func TestChokerKeepsTheOptimisticUnchokeForItsTime(t *testing.T) {
	k := newTestChoker(1) // its only slot is given by chance
	peers := []chokerPeer{{id: 0, wants: true}, {id: 1, wants: true}, {id: 2, wants: true}}
	first := k.choose(0, peers, false)
	for now := chokeInterval; now < optimisticInterval; now += chokeInterval {
		if again := k.choose(now, peers, false); !slices.Equal(first, again) {
			t.Fatalf("after %v the optimistic unchoke went from %v to %v", now, first, again)
		}
	}
}

// A seed serves all in turns: after a while nobody had much more time than another.
func TestChokerServesInTurnsWhenSeeding(t *testing.T) {
	k := newTestChoker(3)
	peers := make([]chokerPeer, 10)
	rounds := make([]int, len(peers))
	for i := range peers {
		peers[i] = chokerPeer{id: picker.PeerID(i), wants: true}
	}
	for now := time.Duration(0); now < 2*time.Hour; now += chokeInterval {
		chosen := k.choose(now, peers, true)
		if len(chosen) != 3 {
			t.Fatalf("%d slots used, want 3", len(chosen))
		}
		for i := range peers {
			on := slices.Contains(chosen, peers[i].id)
			if on && !peers[i].unchoked {
				peers[i].unchokedAt = now
			}
			if peers[i].unchoked = on; on {
				rounds[i]++
			}
		}
	}
	if lo, hi := slices.Min(rounds), slices.Max(rounds); float64(hi) > 1.15*float64(lo) {
		t.Errorf("rounds served: %v; want them within 15 %% of each other", rounds)
	}
}
