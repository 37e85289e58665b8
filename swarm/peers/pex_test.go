package peers

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"torrentfs/picker"
	"torrentfs/swarm/wire"
)

// What a public peer says of addresses inside a network is not believed, and it is not told of such.
func TestPEXStaysInsideTheNetwork(t *testing.T) {
	for _, c := range []struct {
		who, addr string
		want      bool
	}{
		{"8.8.8.8", "127.0.0.1", false},
		{"8.8.8.8", "192.168.1.1", false},
		{"8.8.8.8", "1.1.1.1", true},
		{"192.168.1.5", "192.168.1.1", true},
		{"192.168.1.5", "1.1.1.1", true},
		{"2001:4860:4860::8888", "fe80::1", false},
	} {
		if got := mayHear(netip.MustParseAddr(c.who), netip.MustParseAddr(c.addr)); got != c.want {
			t.Errorf("%s may hear of %s: %v", c.who, c.addr, got)
		}
	}
}

// Messages about peers are a minute apart and tell changes alone.
func TestPEXTellsChanges(t *testing.T) {
	p := newTestPool(t, aTorrent)
	a, b := p.join(0, "8.2.2.1:1", false), p.join(0, "8.2.2.2:1", false)
	p.join(0, "8.2.2.3:1", false)
	sent := func(now time.Duration) (x wire.PEX) {
		p.Tick(now)
		for _, act := range p.acts() {
			if act.Kind == SendPEX && act.Peer == a {
				x = act.PEX
			}
		}
		return x
	}
	now := time.Hour
	if x := sent(now); len(x.Added) != 2 || len(x.Dropped) != 0 {
		t.Errorf("first: %+v, want both others", x)
	}
	p.Left(now, b, Departure{})
	if x := sent(now + pexInterval - 1); len(x.Dropped) != 0 {
		t.Errorf("too soon: %+v", x)
	}
	if x := sent(now + pexInterval + roundInterval); len(x.Added) != 0 || len(x.Dropped) != 1 || x.Dropped[0] != netip.MustParseAddrPort("8.2.2.2:1") {
		t.Errorf("second: %+v, want the one that left", x)
	}
	if x := sent(now + 3*pexInterval); len(x.Added)+len(x.Dropped) != 0 {
		t.Errorf("third: %+v, want nothing", x)
	}
}

// In a private torrent nobody hears of peers but from trackers, and a search, which does not know, tells nobody.
func TestWhoHearsOfPeers(t *testing.T) {
	for name, tc := range map[string]struct {
		tenant       Tenant
		tells, hears bool
	}{
		"torrent": {aTorrent, true, true}, "private": {Tenant{MaxPeers: 80, Private: true}, false, false}, "search": {aSearch, false, true},
	} {
		p := newTestPool(t, tc.tenant)
		a := p.join(0, "8.2.2.1:1", true)
		b := p.join(0, "8.2.2.2:1", true)
		p.HeardPEX(0, a, []wire.PEXPeer{{Addr: netip.MustParseAddrPort("8.9.9.9:1")}})
		if hears := p.Known() > 0; hears != tc.hears {
			t.Errorf("%s: listens: %v", name, hears)
		}
		p.HeardHolepunch(0, a, wire.Holepunch{Type: wire.HolepunchRendezvous, Addr: netip.MustParseAddrPort("8.2.2.2:1")})
		p.Tick(0)
		pex, met := false, false
		for _, act := range p.acts() {
			pex = pex || act.Kind == SendPEX
			met = met || act.Kind == SendHolepunch && act.Peer == b
		}
		if pex != tc.tells || met != tc.tells {
			t.Errorf("%s: tells of peers: %v, brings them together: %v", name, pex, met)
		}
	}
}

// What a relay answers: BEP 55's codes, and nothing at all to a peer that could not understand.
func TestRelayAnswers(t *testing.T) {
	p := newTestPool(t, aTorrent)
	for i := range 3 { // this is where we are
		p.SeenAt(fmt.Sprint(i), netip.MustParseAddr("8.1.1.1"))
	}
	asker, target := p.join(0, "8.2.2.1:1001", true), p.join(0, "8.2.2.2:1002", true)
	p.join(0, "8.2.2.3:1003", false)
	p.join(0, "192.168.1.4:1004", true)
	mute := p.join(0, "8.2.2.5:1005", false)
	overUTP, err := p.Join(0, Arrival{Addr: netip.MustParseAddrPort("8.2.2.6:40000"), PeerID: [20]byte{9}, UTP: true})
	if err != nil {
		t.Fatal(err)
	}
	p.Introduced(overUTP.ID, Intro{Port: 1006, Holepunch: true})
	ask := func(id picker.PeerID, addr string) []Action {
		p.HeardHolepunch(0, id, wire.Holepunch{Type: wire.HolepunchRendezvous, Addr: netip.MustParseAddrPort(addr)})
		return p.acts()
	}
	for addr, want := range map[string]wire.HolepunchError{
		"8.2.2.9:1":        wire.HolepunchNotConnected,
		"8.2.2.1:1001":     wire.HolepunchNotConnected, // the asker
		"8.2.2.3:1003":     wire.HolepunchNoSupport,
		"192.168.1.4:1004": wire.HolepunchNotConnected, // not for those outside
		"8.1.1.1:6881":     wire.HolepunchNoSelf,
		"0.0.0.0:1":        wire.HolepunchNoSuchPeer,
		"224.0.0.1:1":      wire.HolepunchNoSuchPeer,
		"8.2.2.2:0":        wire.HolepunchNoSuchPeer,
	} {
		got := punchesTo(ask(asker, addr), asker)
		if len(got) != 1 || got[0].Type != wire.HolepunchFailed || got[0].Err != want || got[0].Addr.String() != addr {
			t.Errorf("rendezvous with %s: %+v, want error %d", addr, got, want)
		}
	}
	connect := func(addr string) string {
		return fmt.Sprint([]wire.Holepunch{{Type: wire.HolepunchConnect, Addr: netip.MustParseAddrPort(addr)}})
	}
	acts := ask(asker, "8.2.2.2:1002")
	if got := fmt.Sprint(punchesTo(acts, asker)); got != connect("8.2.2.2:1002") {
		t.Errorf("the asker got %+v", got)
	}
	if got := fmt.Sprint(punchesTo(acts, target)); got != connect("8.2.2.1:1001") {
		t.Errorf("the target got %+v", got)
	}
	// A peer's side of a uTP connection is where its router listens for it.
	if got := fmt.Sprint(punchesTo(ask(asker, "8.2.2.6:1006"), asker)); got != connect("8.2.2.6:40000") {
		t.Errorf("the asker got %+v", got)
	}
	if acts := ask(mute, "8.2.2.2:1002"); len(acts) != 0 {
		t.Errorf("a peer that does not know the extension made us do %+v", acts)
	}
}

// A flood of rendezvous of one peer, and a crowd that wants the same peer, are not passed on.
func TestRelayIsNoAmplifier(t *testing.T) {
	p := newTestPool(t, Tenant{MaxPeers: 500})
	asker, target, wanted := p.join(0, "8.2.2.1:1001", true), p.join(0, "8.2.2.2:1002", true), p.join(0, "8.2.2.6:1006", true)
	rendezvous := func(id picker.PeerID, addr string) {
		p.HeardHolepunch(0, id, wire.Holepunch{Type: wire.HolepunchRendezvous, Addr: netip.MustParseAddrPort(addr)})
	}
	for range 1000 {
		rendezvous(asker, "8.2.2.2:1002")
	}
	acts := p.acts()
	if n, m := len(punchesTo(acts, asker)), len(punchesTo(acts, target)); n > relayBurst || m > targetBurst {
		t.Errorf("a flood of 1000: %d answers, %d to the target", n, m)
	}
	for i := range 100 { // of many, against one
		rendezvous(p.join(0, fmt.Sprintf("8.3.3.%d:1", i+1), true), "8.2.2.6:1006")
	}
	if n := len(punchesTo(p.acts(), wanted)); n > targetBurst {
		t.Errorf("a crowd of 100: %d messages to the target", n)
	}
}

// Which addresses are dialled at a relay's word: not the inside of a network, none twice, and not many.
func TestCalledByRelays(t *testing.T) {
	for name, tenant := range map[string]Tenant{"torrent": {MaxPeers: 2000}, "search": aSearch} {
		p := newTestPool(t, tenant)
		one, inside := p.join(0, "8.2.2.1:1", true), p.join(0, "192.168.1.4:1", true)
		mute := p.join(0, "8.2.2.3:1", false)
		dialed := 0
		call := func(id picker.PeerID, addr string) {
			p.HeardHolepunch(0, id, wire.Holepunch{Type: wire.HolepunchConnect, Addr: netip.MustParseAddrPort(addr)})
			if p.acts(); len(p.dials) > 0 {
				dialed++
				p.ended(0, addr, Failed)
			}
		}
		for _, addr := range []string{"127.0.0.1:1", "192.168.1.1:1", "[fe80::1]:1", "224.0.0.1:1", "0.0.0.0:1", "8.9.9.9:0", "8.2.2.3:1"} {
			call(one, addr)
		}
		call(inside, "127.0.0.1:1")
		call(mute, "8.9.9.9:1")
		if dialed != 0 {
			t.Errorf("%s: %d dials at the word of a peer that may not say so", name, dialed)
		}
		if call(inside, "192.168.1.9:1"); dialed != 1 {
			t.Errorf("%s: %d dials in a network at the word of a peer in it", name, dialed)
		}
		dialed = 0
		for i := range 1000 {
			call(one, fmt.Sprintf("8.7.%d.%d:1", i/250, i%250+1))
		}
		if dialed != calledBurst {
			t.Errorf("%s: %d dials at one relay's word, want %d", name, dialed, calledBurst)
		}
		for i := range 20 {
			call(p.join(0, fmt.Sprintf("8.4.%d.1:1", i), true), fmt.Sprintf("8.5.5.%d:1", i+1))
		}
		if dialed != allCalledBurst-1 { // less the one inside
			t.Errorf("%s: %d dials at the word of all, want %d", name, dialed, allCalledBurst)
		}
	}
}

// A search answers a rendezvous with a refusal, and not a flood of them.
func TestSearchBringsNobodyTogether(t *testing.T) {
	p := newTestPool(t, aSearch)
	one := p.join(0, "8.2.2.1:1", true)
	p.join(0, "8.2.2.2:1", true)
	for range 100 {
		p.HeardHolepunch(0, one, wire.Holepunch{Type: wire.HolepunchRendezvous, Addr: netip.MustParseAddrPort("8.2.2.2:1")})
	}
	acts := p.acts()
	if len(acts) != relayBurst || len(punchesTo(acts, one)) != relayBurst {
		t.Errorf("%d answers, want %d refusals", len(acts), relayBurst)
	}
	for _, h := range punchesTo(acts, one) {
		if h.Type != wire.HolepunchFailed || h.Err != wire.HolepunchNotConnected {
			t.Errorf("answered %+v", h)
		}
	}
}

// An address that does not answer is asked for of each peer that told us of it, one after the other, and of no other.
func TestRendezvousIsAskedOfThoseWhoTold(t *testing.T) {
	const addr = "8.9.9.9:1"
	p := newTestPool(t, aTorrent)
	first, second2 := p.join(0, "8.2.2.1:1", true), p.join(0, "8.2.2.2:1", true)
	stranger := p.join(0, "8.2.2.3:1", true)
	for _, id := range []picker.PeerID{first, second2} {
		p.HeardPEX(0, id, []wire.PEXPeer{{Addr: netip.MustParseAddrPort(addr)}})
	}
	if p.acts(); len(p.dials) != 1 || p.NextDeadline() > punchLead {
		t.Fatalf("%d dials, next deadline %v", len(p.dials), p.NextDeadline())
	}
	asked := func(acts []Action, who picker.PeerID) bool {
		for _, a := range acts {
			if a.Kind == SendHolepunch && (a.Peer != who || a.Punch.Type != wire.HolepunchRendezvous || a.Punch.Addr.String() != addr) {
				t.Errorf("asked: %+v, want %d to be", a, who)
			}
		}
		return len(punchesTo(acts, who)) == 1
	}
	p.Tick(punchLead - 1)
	if asked(p.acts(), first) {
		t.Error("the first was asked too soon")
	}
	p.Tick(punchLead)
	if !asked(p.acts(), first) {
		t.Error("the first was not asked")
	}
	no := wire.Holepunch{Type: wire.HolepunchFailed, Addr: netip.MustParseAddrPort(addr), Err: wire.HolepunchNotConnected}
	p.HeardHolepunch(punchLead, stranger, no) // it has no say
	if asked(p.acts(), second2) {
		t.Error("the second was asked too soon")
	}
	p.HeardHolepunch(punchLead, first, no)
	if !asked(p.acts(), second2) {
		t.Error("the second was not asked")
	}
	p.HeardHolepunch(punchLead, second2, no)
	p.HeardHolepunch(punchLead, second2, no)
	if asked(p.acts(), -1) {
		t.Error("asked again")
	}
}
