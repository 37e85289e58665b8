package peers

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"torrentfs/picker"
	"torrentfs/swarm/wire"
)

const second = time.Second

var (
	aTorrent = Tenant{MaxPeers: 80}
	aSearch  = Tenant{Search: true}
)

// testPool is a pool of its own limits, and what it did.
type testPool struct {
	*Pool
	t     testing.TB
	dials []Dial // under way
	ids   byte
}

func newTestPool(t testing.TB, tenant Tenant) *testPool {
	start := time.Unix(1e9, 0)
	p := New(Config{
		Limits: NewLimits(start, 1000, 1000), Rand: rand.New(rand.NewPCG(1, 2)), Start: start, Self: [20]byte{100},
		Listen: netip.MustParseAddrPort("0.0.0.0:6881"), Punch: true,
	}, tenant)
	return &testPool{Pool: p, t: t}
}

// acts drains the pool, and notes the dials.
func (p *testPool) acts() []Action {
	p.t.Helper()
	acts := p.Drain(nil)
	for _, a := range acts {
		if a.Kind == StartDial {
			p.dials = append(p.dials, a.Dial)
		}
	}
	if err := p.CheckInvariants(); err != nil {
		p.t.Fatal(err)
	}
	return acts
}

// join takes a connection of a new peer that came to us from an address, and listens there.
func (p *testPool) join(now time.Duration, addr string, holepunch bool) picker.PeerID {
	p.t.Helper()
	p.ids++
	a := netip.MustParseAddrPort(addr)
	place, err := p.Join(now, Arrival{Addr: a, PeerID: [20]byte{1, p.ids}})
	if err != nil {
		p.t.Fatalf("%s: %v", addr, err)
	}
	p.Introduced(place.ID, Intro{Port: a.Port(), PEX: true, Holepunch: holepunch})
	return place.ID
}

// ended ends the dial of an address.
func (p *testPool) ended(now time.Duration, addr string, o Outcome) {
	p.t.Helper()
	for i, d := range p.dials {
		if d.Addr.String() == addr {
			p.dials = append(p.dials[:i], p.dials[i+1:]...)
			d.Ticket.End(p.Start().Add(now), o)
			p.Dialed(now, d, o, d.Encrypt)
			return
		}
	}
	p.t.Fatalf("no dial of %s", addr)
}

// to is what is sent to a peer by BEP 55.
func punchesTo(acts []Action, id picker.PeerID) (all []wire.Holepunch) {
	for _, a := range acts {
		if a.Kind == SendHolepunch && a.Peer == id {
			all = append(all, a.Punch)
		}
	}
	return all
}

func addrs(s ...string) (all []netip.AddrPort) {
	for _, a := range s {
		all = append(all, netip.MustParseAddrPort(a))
	}
	return all
}

var tracker = Introducer{Kind: ByTracker, Name: "tracker.example"}

// How the end of a dial or of a connection decides about the next dial.
func TestNextDialOfAnAddress(t *testing.T) {
	const addr = "8.2.2.2:1"
	for _, tc := range []struct {
		name    string
		outcome Outcome
		left    Departure // if it answered
		due     time.Duration
		want    Dial
	}{
		{"no connection", Failed, Departure{}, firstRetry, Dial{Eager: true}},
		{"hung up: the other swarm of the hybrid", HungUp, Departure{}, firstRetry, Dial{Eager: true, V2: true}},
		{"silent: likewise", Silent, Departure{}, firstRetry, Dial{Eager: true, V2: true}},
		{"no network", Down, Departure{}, firstRetry, Dial{Eager: true}},
		{"shy", Answered, Departure{Shy: true}, 0, Dial{}},
		{"broke the protocol for hashes", Answered, Departure{NoHashes: true}, 0, Dial{Eager: true}},
		{"of no use", Answered, Departure{Failed: true}, firstRetry, Dial{Eager: true}},
		{"let go, and needed again", Answered, Departure{Again: true}, 0, Dial{Eager: true}},
		{"left", Answered, Departure{}, firstRetry, Dial{Eager: true}},
	} {
		tenant := aTorrent
		tenant.Hybrid = true
		p := newTestPool(t, tenant)
		p.SetNeeds(0, Needs{Empty: true})
		p.Found(0, tracker, addrs(addr))
		p.acts()
		p.ended(second, addr, tc.outcome)
		if tc.outcome == Answered {
			place, err := p.Join(second, Arrival{Addr: netip.MustParseAddrPort(addr), Outgoing: true})
			if err != nil {
				t.Fatal(err)
			}
			p.Left(second, place.ID, tc.left)
		}
		if due, _ := p.Due(netip.MustParseAddrPort(addr)); due != second+tc.due {
			t.Errorf("%s: due at %v, want %v", tc.name, due, second+tc.due)
		}
		p.Tick(second + tc.due)
		p.acts()
		if len(p.dials) != 1 {
			t.Errorf("%s: %d dials", tc.name, len(p.dials))
			continue
		}
		got := p.dials[0]
		got = Dial{Eager: got.Eager, Encrypt: got.Encrypt, V2: got.V2}
		if got != tc.want {
			t.Errorf("%s: %+v, want %+v", tc.name, got, tc.want)
		}
	}
}

// Of two connections to one peer the first stays, but if they crossed: then that of the higher peer id.
func TestOneConnectionForEachPeer(t *testing.T) {
	for _, tc := range []struct {
		name       string
		firstOut   bool
		secondOut  bool
		after      time.Duration
		them       byte // we are 100
		wantSecond bool
	}{
		{"two that came", false, false, second, 1, false},
		{"crossed, ours is the one", false, true, second, 1, true},
		{"crossed, theirs is the one", false, true, second, 200, false},
		{"crossed, theirs is the second", true, false, second, 200, true},
		{"long after", false, true, crossing, 1, false},
	} {
		p := newTestPool(t, aTorrent)
		id := [20]byte{tc.them}
		first, err := p.Join(0, Arrival{Addr: netip.MustParseAddrPort("8.2.2.2:1"), PeerID: id, Outgoing: tc.firstOut})
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.Join(tc.after, Arrival{Addr: netip.MustParseAddrPort("8.2.2.2:2"), PeerID: id, Outgoing: tc.secondOut})
		acts := p.acts()
		closed := len(acts) == 1 && acts[0].Kind == Close && acts[0].Peer == first.ID && acts[0].Err == ErrTwice
		if closed != tc.wantSecond || (err == nil) != tc.wantSecond || err != nil && err != ErrTwice {
			t.Errorf("%s: %v, then %+v", tc.name, err, acts)
		}
	}
}

// A full pool ends the connection that has been idle longest for those that wait, and none that is of use.
func TestIdleConnectionsGiveWay(t *testing.T) {
	p := newTestPool(t, Tenant{MaxPeers: 3})
	busy, idle, young := p.join(0, "8.2.2.1:1", false), p.join(second, "8.2.2.2:1", false), p.join(20*second, "8.2.2.3:1", false)
	refuse := func(now time.Duration) {
		if _, err := p.Join(now, Arrival{Addr: netip.MustParseAddrPort("8.2.2.4:1")}); err != ErrTooMany {
			t.Fatalf("a fourth: %v", err)
		}
		p.SetUseful(now, busy)
		p.Tick(now)
	}
	closes := func() (ids []picker.PeerID) {
		for _, a := range p.acts() {
			if a.Kind == Close && a.Err == ErrUseless {
				ids = append(ids, a.Peer)
			}
		}
		return ids
	}
	if refuse(25 * second); len(closes()) > 0 {
		t.Error("a connection is ended too soon")
	}
	refuse(40 * second)
	if ids := closes(); len(ids) != 1 || ids[0] != idle {
		t.Errorf("ended %d, want %d; not %d and %d", ids, idle, busy, young)
	}
	p.Left(40*second, idle, Departure{})
	if p.Tick(80 * second); len(closes()) > 0 {
		t.Error("a connection is ended though nobody waits")
	}
}

// A torrent that was complete calls back the seeds that it let go.
func TestSeedsAreCalledBack(t *testing.T) {
	p := newTestPool(t, aTorrent)
	p.Found(0, tracker, addrs("8.2.2.2:1"))
	p.acts()
	p.ended(0, "8.2.2.2:1", Answered)
	place, err := p.Join(0, Arrival{Addr: netip.MustParseAddrPort("8.2.2.2:1"), Outgoing: true})
	if err != nil {
		t.Fatal(err)
	}
	p.SetSeed(place.ID, true)
	p.SetNeeds(0, Needs{Complete: true})
	p.Left(0, place.ID, Departure{})
	p.Tick(time.Hour)
	if len(p.acts()) > 0 || p.NextDeadline() != never {
		t.Errorf("a seed dials a seed, or has something to wait for: %v", p.NextDeadline())
	}
	p.SetNeeds(time.Hour, Needs{})
	if p.acts(); len(p.dials) != 1 {
		t.Error("the seed is not called back")
	}
}

// The sources are asked for more when there is nobody to dial, and not without end.
func TestSourcesAreAsked(t *testing.T) {
	for name, tc := range map[string]struct {
		tenant Tenant
		needs  Needs
		want   int // in a minute
	}{
		"torrent": {aTorrent, Needs{}, 6}, "search": {aSearch, Needs{}, 5},
		"complete": {aTorrent, Needs{Complete: true}, 0}, "stopped": {aTorrent, Needs{Stopped: true}, 0},
	} {
		p := newTestPool(t, tc.tenant)
		p.SetNeeds(0, tc.needs)
		asked := 0
		for now := time.Duration(0); now < time.Minute; now += second / 4 {
			p.Tick(now)
			for _, a := range p.acts() {
				if a.Kind == AskSources {
					asked++
				}
			}
		}
		if asked != tc.want {
			t.Errorf("%s: asked %d times, want %d", name, asked, tc.want)
		}
	}
}

// Nobody can take all places of those who come while metadata is sought.
func TestSearchKeepsRoomForOthers(t *testing.T) {
	for _, tc := range []struct {
		name      string
		neighbour bool // all come from one address
		idle      bool // they have no metadata, and know PEX
		want      int
	}{
		{"strangers", false, false, maxIncoming},
		{"strangers without metadata", false, true, 50},
		{"one address", true, false, maxIncoming / 4},
		{"one address without metadata", true, true, maxIncoming / 4},
	} {
		p := newTestPool(t, aSearch)
		admitted := 0
		for i := range 50 {
			ip := netip.AddrFrom4([4]byte{8, 1, byte(i), 1})
			if tc.neighbour {
				ip = netip.AddrFrom4([4]byte{8, 1, 1, 1})
			}
			place, err := p.Join(time.Duration(i), Arrival{Addr: netip.AddrPortFrom(ip, uint16(i+1)), PeerID: [20]byte{byte(i)}})
			if err != nil {
				continue
			}
			admitted++
			if tc.idle {
				p.SetIdle(time.Duration(i), place.ID)
			}
		}
		closed := len(p.acts())
		if admitted != tc.want || admitted-closed > maxIncoming {
			t.Errorf("%s: %d of 50 were admitted, want %d; %d were closed", tc.name, admitted, tc.want, closed)
		}
	}
}

// Peers without metadata take no places of a search's dials, and are not too many.
func TestSearchDialsBesidePeersWithoutMetadata(t *testing.T) {
	p := newTestPool(t, aSearch)
	p.SetNeeds(0, Needs{Empty: true})
	for i := range 100 {
		p.Found(0, tracker, []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{8, byte(i), 1, 1}), 1)})
	}
	closed := 0
	for i := 0; i < 40; i++ {
		for _, a := range p.acts() {
			if a.Kind == Close {
				closed++
				p.Left(0, a.Peer, Departure{Failed: true})
			}
		}
		if len(p.dials) != maxSearched {
			t.Fatalf("%d dials under way, want %d", len(p.dials), maxSearched)
		}
		addr := p.dials[0].Addr
		p.ended(0, addr.String(), Answered)
		place, err := p.Join(0, Arrival{Addr: addr, PeerID: [20]byte{byte(i)}, Outgoing: true})
		if err != nil {
			t.Fatal(err)
		}
		p.SetIdle(0, place.ID)
	}
	if p.acts(); closed != 40-maxIdle-1 && closed != 40-maxIdle {
		t.Errorf("%d of 40 peers without metadata were closed, want all but %d", closed, maxIdle)
	}
}

// A torrent that follows a search goes on with its connections and addresses, as many as it may have.
func TestTheTorrentFollowsTheSearch(t *testing.T) {
	p := newTestPool(t, aSearch)
	p.Found(0, tracker, addrs("8.9.9.9:1"))
	var ids []picker.PeerID
	for i := range 20 {
		ids = append(ids, p.join(0, fmt.Sprintf("8.3.%d.1:1", i), false))
		if i%2 == 0 {
			p.SetIdle(0, ids[i])
		}
	}
	p.acts()
	p.SetTenant(second, Tenant{MaxPeers: 12})
	closed := map[picker.PeerID]bool{}
	for _, a := range p.acts() {
		if a.Kind == Close {
			closed[a.Peer] = true
		}
	}
	if len(closed) != 8 {
		t.Errorf("%d are closed, want 8", len(closed))
	}
	for i, id := range ids {
		if closed[id] && i%2 != 0 {
			t.Errorf("%d goes, before those that had no metadata", id)
		}
	}
	if p.Known() != 1 || p.Dialing() != 1 {
		t.Errorf("%d addresses known, %d dials", p.Known(), p.Dialing())
	}
}

// What a search learned holds for the torrent: bans, votes on our own address, and who told of an address that cannot be
// reached without help.
func TestTheTorrentKnowsWhatTheSearchKnew(t *testing.T) {
	const told, liar = "8.9.9.9:1", "8.4.4.4:1"
	p := newTestPool(t, aSearch)
	p.SetNeeds(0, Needs{Empty: true})
	relay := p.join(0, "8.2.2.1:1", true)
	p.HeardPEX(0, relay, []wire.PEXPeer{{Addr: netip.MustParseAddrPort(told)}})
	p.Ban(0, netip.MustParseAddrPort(liar))
	self := netip.MustParseAddr("8.1.1.1")
	for _, voter := range []string{"1", "2", "3"} {
		p.SeenAt(voter, self)
	}
	p.acts()
	p.SetTenant(second, aTorrent)
	p.ended(second, told, Failed)
	if h := punchesTo(p.acts(), relay); len(h) != 1 || h[0].Type != wire.HolepunchRendezvous || h[0].Addr.String() != told {
		t.Errorf("asked for help: %+v", h)
	}
	if _, err := p.Join(second, Arrival{Addr: netip.MustParseAddrPort(liar)}); err != ErrBanned {
		t.Errorf("a banned peer: %v", err)
	}
	if got := p.Self(self); got != self {
		t.Errorf("we are at %v, want %v", got, self)
	}
}
