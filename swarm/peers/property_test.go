package peers

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"

	"torrentfs/picker"
	"torrentfs/swarm/wire"
)

// world is what a pool under test can see: its dials and connections, and what was done to them.
type world struct {
	t      *rapid.T
	p      *Pool
	limits *Limits
	tenant Tenant
	needs  Needs
	now    time.Duration
	dials  []Dial
	conns  map[picker.PeerID]conn
	order  []picker.PeerID // of conns
	told   map[picker.PeerID]time.Duration
	banned map[netip.AddrPort]bool
}

type conn struct {
	addr           netip.AddrPort
	pex, holepunch bool
	closed         bool
}

// Whatever happens: the pool contradicts itself nowhere, does nothing to those who are not there, dials none that is banned
// or none at all if nothing is needed, keeps its limits, and tells peers no more often than BEP 11 allows.
func TestAnyEvents(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := time.Unix(1e9, 0)
		w := &world{
			t: t, limits: NewLimits(start, rapid.IntRange(1, 30).Draw(t, "conns"), rapid.IntRange(1, 10).Draw(t, "dials")),
			tenant: Tenant{Search: rapid.Bool().Draw(t, "search"), MaxPeers: rapid.IntRange(0, 12).Draw(t, "peers")},
			conns:  map[picker.PeerID]conn{}, told: map[picker.PeerID]time.Duration{}, banned: map[netip.AddrPort]bool{},
		}
		w.p = New(Config{
			Limits: w.limits, Rand: rand.New(rand.NewPCG(1, 1)), Start: start, Self: [20]byte{5}, Punch: rapid.Bool().Draw(t, "punch"),
			Listen: netip.MustParseAddrPort("8.1.1.1:1"),
		}, w.tenant)
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			w.step()
			w.perform()
		}
		for len(w.order) > 0 {
			w.leave(w.order[0])
			w.perform()
		}
		w.p.SetNeeds(w.now, Needs{Stopped: true})
		for len(w.dials) > 0 {
			w.end(0, Failed)
			w.perform()
		}
		if n := w.limits.Conns(); n != 0 || w.p.Live() != 0 || w.p.Dialing() != 0 {
			t.Fatalf("at the end %d places are taken, %d connections, %d dials", n, w.p.Live(), w.p.Dialing())
		}
	})
}

func (w *world) addr() netip.AddrPort {
	n := rapid.IntRange(0, 20).Draw(w.t, "host")
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{8, byte(n / 7), byte(n), 1}), uint16(1+rapid.IntRange(0, 1).Draw(w.t, "port")))
}

func (w *world) some() picker.PeerID {
	return w.order[rapid.IntRange(0, len(w.order)-1).Draw(w.t, "connection")]
}

func (w *world) step() {
	p, t := w.p, w.t
	w.now += time.Duration(rapid.SampledFrom([]int{0, 1, 500, 1000, 3000, 60_000}).Draw(t, "ms")) * time.Millisecond
	switch what := rapid.IntRange(0, 14).Draw(t, "what"); {
	case what <= 1:
		p.Found(w.now, Introducer{Kind: ByTracker, Name: "x"}, []netip.AddrPort{w.addr(), w.addr()})
	case what == 2:
		w.needs.Complete = rapid.Bool().Draw(t, "complete")
		w.needs.NoUpload = rapid.Bool().Draw(t, "no upload")
		w.needs.Paused = rapid.Bool().Draw(t, "paused")
		p.SetNeeds(w.now, w.needs)
	case what == 3:
		p.NetworkChanged(w.now)
		w.limits.Forgive()
	case what == 4 && rapid.IntRange(0, 9).Draw(t, "tenant") == 0:
		w.tenant = Tenant{MaxPeers: rapid.IntRange(1, 12).Draw(t, "peers"), Private: rapid.Bool().Draw(t, "private")}
		p.SetTenant(w.now, w.tenant)
	case what <= 6 && len(w.dials) > 0:
		w.end(rapid.IntRange(0, len(w.dials)-1).Draw(t, "dial"), Outcome(rapid.IntRange(0, int(Ourself)).Draw(t, "outcome")))
	case what == 7 && w.limits.Accept():
		if !w.join(Arrival{Addr: w.addr()}) {
			w.limits.Release()
		}
	case what <= 7 || len(w.order) == 0:
		p.Tick(w.now)
		if p.NextDeadline() <= w.now {
			t.Fatalf("after a tick at %v the next one is due at %v", w.now, p.NextDeadline())
		}
	case what == 8:
		w.leave(w.some())
	case what == 9:
		p.SetIdle(w.now, w.some())
	case what == 10:
		p.SetSeed(w.some(), rapid.Bool().Draw(t, "seed"))
	case what == 11:
		c := w.conns[w.some()]
		p.Ban(w.now, c.addr)
		w.banned[c.addr] = true
	case what == 12:
		p.HeardPEX(w.now, w.some(), []wire.PEXPeer{{Addr: w.addr()}, {Addr: w.addr()}})
	default:
		p.HeardHolepunch(w.now, w.some(), wire.Holepunch{Type: wire.HolepunchType(rapid.IntRange(0, 2).Draw(t, "type")), Addr: w.addr()})
	}
}

// end ends a dial.
func (w *world) end(i int, o Outcome) {
	d := w.dials[i]
	w.dials = append(w.dials[:i:i], w.dials[i+1:]...)
	d.Ticket.End(w.p.Start().Add(w.now), o)
	w.p.Dialed(w.now, d, o, false)
	if o == Answered && !w.join(Arrival{Addr: d.Addr, Outgoing: true, Punched: d.Punch, UTP: d.Punch}) {
		w.limits.Release()
	}
}

func (w *world) join(v Arrival) bool {
	v.PeerID = [20]byte{byte(rapid.IntRange(0, 40).Draw(w.t, "peer id"))}
	place, err := w.p.Join(w.now, v)
	if err != nil {
		return false
	}
	if _, twice := w.conns[place.ID]; twice {
		w.t.Fatalf("id %d is given twice", place.ID)
	}
	c := conn{addr: v.Addr, pex: rapid.Bool().Draw(w.t, "pex"), holepunch: rapid.Bool().Draw(w.t, "holepunch")}
	w.conns[place.ID] = c
	w.order = append(w.order, place.ID)
	w.p.Introduced(place.ID, Intro{Port: uint16(rapid.IntRange(0, 2).Draw(w.t, "port")), PEX: c.pex, Holepunch: c.holepunch})
	return true
}

func (w *world) leave(id picker.PeerID) {
	w.p.Left(w.now, id, Departure{
		Shy: rapid.Bool().Draw(w.t, "shy"), Failed: rapid.Bool().Draw(w.t, "failed"), Again: rapid.Bool().Draw(w.t, "again"),
	})
	w.limits.Release()
	delete(w.conns, id)
	delete(w.told, id)
	for i := range w.order {
		if w.order[i] == id {
			w.order = append(w.order[:i:i], w.order[i+1:]...)
			break
		}
	}
}

// perform checks what the pool wants done.
func (w *world) perform() {
	t := w.t
	for _, a := range w.p.Drain(nil) {
		c, here := w.conns[a.Peer]
		if a.Kind != StartDial && a.Kind != AskSources && !here {
			t.Fatalf("%+v to a peer that is not there", a)
		}
		switch a.Kind {
		case StartDial:
			if w.banned[a.Dial.Addr] {
				t.Fatalf("%v is dialled, and banned", a.Dial.Addr)
			}
			for _, d := range w.dials {
				if d.Addr == a.Dial.Addr && !d.Punch && !a.Dial.Punch {
					t.Fatalf("%v is dialled twice", d.Addr)
				}
			}
			if w.needs.Complete && w.needs.NoUpload || w.needs.Paused {
				t.Fatalf("%v is dialled, and nothing is needed", a.Dial.Addr)
			}
			w.dials = append(w.dials, a.Dial)
		case Close:
			if c.closed {
				t.Fatalf("%d is closed twice", a.Peer)
			}
			c.closed = true
			w.conns[a.Peer] = c
		case SendPEX:
			if last, told := w.told[a.Peer]; !c.pex || w.tenant.Private || w.tenant.Search || told && w.now-last < pexInterval {
				t.Fatalf("%+v at %v, after %v", a, w.now, last)
			}
			w.told[a.Peer] = w.now
		case SendHolepunch:
			if !c.holepunch || w.tenant.Private || w.tenant.Search && a.Punch.Type == wire.HolepunchConnect {
				t.Fatalf("%+v", a)
			}
		}
	}
	if err := w.p.CheckInvariants(); err != nil {
		t.Fatal(err)
	}
	if w.limits.dials > w.limits.maxDials || w.limits.conns > w.limits.maxConns {
		t.Fatalf("%d dials, %d connections", w.limits.dials, w.limits.conns)
	}
}
