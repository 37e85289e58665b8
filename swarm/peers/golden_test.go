package peers

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"torrentfs/picker"
	"torrentfs/swarm/wire"
)

var update = flag.Bool("update", false, "write the golden traces anew")

// trace runs a script against a pool and writes down what it does.
type trace struct {
	*testPool
	b     strings.Builder
	names map[picker.PeerID]string
}

func (tr *trace) say(format string, args ...any) { fmt.Fprintf(&tr.b, format+"\n", args...) }

// at lets the time come, with all ticks that are due before, and then does something.
func (tr *trace) at(now time.Duration, what string, do func()) {
	for due := tr.NextDeadline(); due < now; due = tr.NextDeadline() {
		tr.Tick(due)
		tr.note(due)
	}
	tr.say("%6v %s", now, what)
	do()
	tr.note(now)
}

func (tr *trace) note(now time.Duration) {
	for _, a := range tr.acts() {
		var what string
		switch a.Kind {
		case StartDial:
			what = "dial " + a.Dial.Addr.String()
			for _, f := range []struct {
				on   bool
				name string
			}{{a.Dial.Eager, "first messages with the handshake"}, {a.Dial.Encrypt, "encrypted"}, {a.Dial.V2, "v2"}, {a.Dial.Punch, "uTP, holepunch"}} {
				if f.on {
					what += ", " + f.name
				}
			}
		case Close:
			what = fmt.Sprintf("close %s: %v", tr.names[a.Peer], a.Err)
		case SendPEX:
			what = "tell " + tr.names[a.Peer] + " of"
			for _, p := range a.PEX.Added {
				what += " +" + p.Addr.String()
			}
			for _, p := range a.PEX.Dropped {
				what += " -" + p.String()
			}
		case SendHolepunch:
			kind := map[wire.HolepunchType]string{wire.HolepunchRendezvous: "rendezvous", wire.HolepunchConnect: "connect", wire.HolepunchFailed: "failed"}
			what = fmt.Sprintf("holepunch to %s: %s %v", tr.names[a.Peer], kind[a.Punch.Type], a.Punch.Addr)
		case AskSources:
			what = "ask the sources for more"
		}
		tr.say("%6v     -> %s", now, what)
	}
}

// comes joins a connection, out of a dial if one is under way.
func (tr *trace) comes(now time.Duration, name, addr string, in Intro) {
	tr.ids++
	v := Arrival{Addr: netip.MustParseAddrPort(addr), PeerID: [20]byte{1, tr.ids}}
	for _, d := range tr.dials {
		if d.Addr == v.Addr {
			v.Outgoing, v.Punched, v.UTP = true, d.Punch, d.Punch
		}
	}
	if v.Outgoing {
		tr.ended(now, addr, Answered)
	}
	place, err := tr.Join(now, v)
	if err != nil {
		tr.say("       refused: %v", err)
		return
	}
	tr.names[place.ID] = name
	tr.Introduced(place.ID, in)
}

func (tr *trace) id(name string) picker.PeerID {
	for id, n := range tr.names {
		if n == name {
			return id
		}
	}
	return -1
}

// A magnet link whose only peer with metadata is behind a router, then its torrent, for a person to read.
func TestGoldenTrace(t *testing.T) {
	tr := &trace{testPool: newTestPool(t, aSearch), names: map[picker.PeerID]string{}}
	pexOf := func(a ...string) (all []wire.PEXPeer) {
		for _, addr := range addrs(a...) {
			all = append(all, wire.PEXPeer{Addr: addr})
		}
		return all
	}
	tr.at(0, "the search begins; a tracker names A and B", func() {
		tr.SetNeeds(0, Needs{Empty: true})
		tr.Found(0, tracker, addrs("8.1.0.1:1", "8.2.0.1:1"))
	})
	tr.at(50*time.Millisecond, "A answers; it has no metadata", func() {
		tr.comes(50*time.Millisecond, "A", "8.1.0.1:1", Intro{PEX: true, Holepunch: true})
		tr.SetIdle(50*time.Millisecond, tr.id("A"))
	})
	tr.at(60*time.Millisecond, "A tells of C, and of an address inside its own network", func() {
		tr.HeardPEX(60*time.Millisecond, tr.id("A"), pexOf("8.3.0.1:1", "192.168.1.1:1"))
	})
	tr.at(3*second, "B refuses the connection", func() { tr.ended(3*second, "8.2.0.1:1", Failed) })
	tr.at(3100*time.Millisecond, "A says: connect to C", func() {
		tr.HeardHolepunch(3100*time.Millisecond, tr.id("A"), wire.Holepunch{Type: wire.HolepunchConnect, Addr: netip.MustParseAddrPort("8.3.0.1:1")})
	})
	tr.at(3200*time.Millisecond, "the dial by TCP ends, and the one by uTP works: C has the metadata", func() {
		first := tr.dials[0]
		if first.Punch {
			first = tr.dials[1]
		}
		tr.dials = tr.dials[len(tr.dials)-1:]
		first.Ticket.End(tr.Start(), Failed)
		tr.Dialed(3200*time.Millisecond, first, Failed, false)
		tr.comes(3200*time.Millisecond, "C", "8.3.0.1:1", Intro{PEX: true, Holepunch: true})
	})
	tr.at(3300*time.Millisecond, "the torrent follows; it may have three peers", func() {
		tr.SetTenant(3300*time.Millisecond, Tenant{MaxPeers: 3})
		tr.SetNeeds(3300*time.Millisecond, Needs{Empty: true})
	})
	tr.at(9*second, "B refuses again", func() { tr.ended(9*second, "8.2.0.1:1", Failed) })
	tr.at(10*second, "D comes, and asks to be brought together with C", func() {
		tr.comes(10*second, "D", "8.4.0.1:4000", Intro{Port: 1, PEX: true, Holepunch: true})
		tr.HeardHolepunch(10*second, tr.id("D"), wire.Holepunch{Type: wire.HolepunchRendezvous, Addr: netip.MustParseAddrPort("8.3.0.1:1")})
	})
	tr.at(12*second, "E comes; C and D send us blocks from now on", func() { tr.comes(12*second, "E", "8.5.0.1:4000", Intro{}) })
	for now := 13 * second; now < 34*second; now += 9 * second {
		tr.at(now, "blocks come", func() { tr.SetUseful(now, tr.id("C")); tr.SetUseful(now, tr.id("D")) })
	}
	tr.at(40*second, "E comes again", func() { tr.comes(40*second, "E", "8.5.0.1:4000", Intro{}) })
	tr.at(42*second, "A is gone", func() { tr.Left(42*second, tr.id("A"), Departure{Failed: true}) })
	tr.at(43*second, "D sends wrong data, and is banned; it comes back", func() {
		tr.Ban(43*second, netip.MustParseAddrPort("8.4.0.1:4000"))
		tr.Left(43*second, tr.id("D"), Departure{})
		tr.comes(43*second, "D", "8.4.0.1:4000", Intro{})
	})
	tr.at(80*second, "everything is here, and C, a seed, lets us go", func() {
		tr.SetSeed(tr.id("C"), true)
		tr.SetNeeds(80*second, Needs{Complete: true})
		tr.Left(80*second, tr.id("C"), Departure{})
	})
	tr.at(90*second, "a piece on disk turns out to be wrong", func() { tr.SetNeeds(90*second, Needs{}) })
	file := filepath.Join("testdata", "magnet_link.txt")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(tr.b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if tr.b.String() != string(want) {
		t.Errorf("the trace changed (go test -update writes it anew):\n%s", tr.b.String())
	}
}
