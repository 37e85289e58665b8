package choke

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"torrentfs/picker"
)

func newTestChoker(slots int) *Choker { return New(slots, rand.New(rand.NewPCG(1, 2))) }

// all returns the peers that have a slot, sorted.
func (k *Choker) all(peers []Peer) (ids []picker.PeerID) {
	for _, p := range peers {
		if k.Unchoked(p.ID) {
			ids = append(ids, p.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

// The best contributors get the slots but those that chance gives away.
func TestContributionIsRewarded(t *testing.T) {
	k := newTestChoker(8)
	var peers []Peer
	for i := range 20 {
		peers = append(peers, Peer{ID: picker.PeerID(i), Interested: true, Rate: float64(i) * 1000})
	}
	k.Round(time.Hour, peers, false)
	if got := k.all(peers); len(got) != 8 {
		t.Fatalf("unchoked %v, want 8 peers", got)
	}
	for id := picker.PeerID(14); id < 20; id++ {
		if !k.Unchoked(id) {
			t.Errorf("contributor %d is choked; unchoked are %v", id, k.all(peers))
		}
	}
}

func TestUninterestedAreIgnoredAndSnubbedComeLast(t *testing.T) {
	k := newTestChoker(4)
	peers := []Peer{
		{ID: 0, Rate: 9e6},
		{ID: 1, Interested: true, Rate: 8e6, Snubbed: true},
		{ID: 2, Interested: true, Rate: 1},
		{ID: 3, Interested: true, Rate: 2},
		{ID: 4, Interested: true, Rate: 3},
	}
	k.Round(time.Hour, peers, false)
	if k.Unchoked(0) {
		t.Error("unchoked a peer that is not interested")
	}
	for _, id := range []picker.PeerID{2, 3, 4} {
		if !k.Unchoked(id) {
			t.Errorf("peer %d is choked in favour of a snubbed one; unchoked are %v", id, k.all(peers))
		}
	}
}

// Every waiting peer is unchoked by chance before long.
func TestOptimisticUnchokeReachesEverybody(t *testing.T) {
	k := newTestChoker(4)
	served := map[picker.PeerID]bool{}
	var peers []Peer
	for i := range 12 {
		peers = append(peers, Peer{ID: picker.PeerID(i), Interested: true, Rate: float64(100 - i)})
	}
	for now := time.Hour; now < 2*time.Hour; now += Interval {
		k.Round(now, peers, false)
		for _, id := range k.all(peers) {
			served[id] = true
		}
	}
	for _, p := range peers {
		if !served[p.ID] {
			t.Errorf("peer %d was never unchoked in an hour", p.ID)
		}
	}
}

func TestOptimisticUnchokeIsKeptForItsTime(t *testing.T) {
	k := newTestChoker(1) // its only slot is given by chance
	peers := []Peer{{ID: 0, Interested: true}, {ID: 1, Interested: true}, {ID: 2, Interested: true}}
	k.Round(0, peers, false)
	first := k.all(peers)
	for now := Interval; now < optimisticInterval; now += Interval {
		if acts := k.Round(now, peers, false); len(acts) > 0 {
			t.Fatalf("after %v: %v, peers %v had the optimistic unchoke", now, acts, first)
		}
	}
}

// A seed serves all in turns: after a while no peer had much more time than another.
func TestSeedServesInTurns(t *testing.T) {
	k := newTestChoker(3)
	peers := make([]Peer, 10)
	rounds := make([]int, len(peers))
	for i := range peers {
		peers[i] = Peer{ID: picker.PeerID(i), Interested: true}
	}
	for now := time.Duration(0); now < 2*time.Hour; now += Interval {
		k.Round(now, peers, true)
		if got := k.all(peers); len(got) != 3 {
			t.Fatalf("%d slots used, want 3", len(got))
		}
		for _, id := range k.all(peers) {
			rounds[id]++
		}
	}
	if lo, hi := slices.Min(rounds), slices.Max(rounds); float64(hi) > 1.15*float64(lo) {
		t.Errorf("rounds served: %v; want them within 15 %% of each other", rounds)
	}
}

// A free slot need not wait for the next round, and one that is given back brings the round
// forward.
func TestSlotsBetweenRounds(t *testing.T) {
	k := newTestChoker(1)
	k.Round(0, nil, false)
	if !k.Interested(time.Second, 1) || k.Interested(time.Second, 1) || k.Interested(time.Second, 2) {
		t.Fatal("want the free slot given once, to the first")
	}
	if k.NextRound() != Interval {
		t.Fatalf("next round at %v", k.NextRound())
	}
	if k.Uninterested(2); k.NextRound() != Interval {
		t.Error("a round for a peer that had no slot")
	}
	if k.Left(1); k.NextRound() > time.Second || k.Unchoked(1) {
		t.Error("the slot of a peer that left is not given away at once")
	}
}

func TestNoSlotsServeNobody(t *testing.T) {
	k := newTestChoker(0)
	peers := []Peer{{ID: 1, Interested: true, Rate: 1e6}}
	if k.Interested(0, 1) || len(k.Round(0, peers, false)) > 0 || len(k.Round(Interval, peers, true)) > 0 {
		t.Error("unchoked a peer without having slots")
	}
}

// At all times there are no more peers than slots, and actions report exactly what changed.
func TestAnyEvents(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := newTestChoker(rapid.IntRange(0, 9).Draw(t, "slots"))
		peers, told := []Peer{}, map[picker.PeerID]bool{}
		tell := func(a Action) {
			if told[a.Peer] == !a.Choke {
				t.Fatalf("%+v: nothing changed", a)
			}
			told[a.Peer] = !a.Choke
		}
		now, next, seeding := time.Duration(0), picker.PeerID(0), false
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now += time.Duration(rapid.IntRange(0, 20).Draw(t, "seconds")) * time.Second
			some := func() int { return rapid.IntRange(0, len(peers)-1).Draw(t, "peer") }
			switch what := rapid.IntRange(0, 5).Draw(t, "what"); {
			case what == 0 || len(peers) == 0:
				peers = append(peers, Peer{ID: next, Since: now, Rate: float64(rapid.IntRange(0, 3).Draw(t, "rate"))})
				next++
			case what == 1:
				i := some()
				k.Left(peers[i].ID)
				delete(told, peers[i].ID)
				peers = slices.Delete(peers, i, i+1)
			case what == 2:
				i := some()
				if peers[i].Interested = !peers[i].Interested; !peers[i].Interested {
					k.Uninterested(peers[i].ID)
				} else if k.Interested(now, peers[i].ID) {
					tell(Action{Peer: peers[i].ID})
				}
			case what == 3:
				seeding = !seeding
				k.ChangePolicy()
			default:
				for _, a := range k.Round(now, peers, seeding) {
					tell(a)
				}
			}
			if err := k.CheckInvariants(); err != nil {
				t.Fatal(err)
			}
			for _, p := range peers {
				if told[p.ID] != k.Unchoked(p.ID) {
					t.Fatalf("peer %d was told unchoked %v, is %v", p.ID, told[p.ID], k.Unchoked(p.ID))
				}
			}
		}
	})
}

var update = flag.Bool("update", false, "write the golden traces anew")

// A leecher that becomes a seed, for a person to read.
func TestGoldenTrace(t *testing.T) {
	k := newTestChoker(4)
	peers := make([]Peer, 7)
	for i := range peers {
		peers[i] = Peer{ID: picker.PeerID(i), Interested: i != 6, Rate: float64(i * 100), Snubbed: i == 5}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "4 slots; peer N sends N hundred bytes/s; 5 is snubbed, 6 not interested\n")
	for now := time.Duration(0); now < 4*time.Minute; now += Interval {
		seeding := now >= 2*time.Minute
		if now == 2*time.Minute {
			k.ChangePolicy()
			fmt.Fprintf(&b, "we have everything\n")
		}
		fmt.Fprintf(&b, "%6v", now)
		for _, a := range k.Round(now, peers, seeding) {
			fmt.Fprintf(&b, "  %s %d", map[bool]string{true: "choke", false: "unchoke"}[a.Choke], a.Peer)
		}
		fmt.Fprintf(&b, "  -> %v\n", k.all(peers))
	}
	file := filepath.Join("testdata", "leecher_then_seed.txt")
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("the trace changed (go test -update writes it anew):\n%s", b.String())
	}
}
