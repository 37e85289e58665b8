package peers

import (
	"net/netip"
	"slices"
	"time"
)

const (
	maxDialing  = 16          // dials of a torrent under way
	maxSearched = 16          // dials of a search, and its connections to peers that may have the metadata
	lookAgain   = time.Minute // an address comes to its turn again whose peer is connected
)

// Dial is how an address is to be dialled. Its ticket is the dialer's to end.
type Dial struct {
	Addr    netip.AddrPort
	V2      bool // under the v2 info-hash of a hybrid
	Encrypt bool // by MSE first
	Eager   bool // the first messages leave with the handshake
	Punch   bool // by uTP, at a relay's word: the peer does the same now (BEP 55)
	Ticket  *Ticket

	counted bool // among the dials of an address that was known
}

// Outcome is how a dial ended.
type Outcome uint8

// The outcomes of a dial.
const (
	Answered Outcome = iota // the peer shook hands
	Failed                  // there was no connection
	Refused                 // the peer was there, and the handshake failed
	HungUp                  // likewise: it ended the connection, as one does that does not like how we speak
	Silent                  // likewise: it said nothing
	Unsent                  // it never left this machine, or says nothing about the peer
	Down                    // likewise, because we are without the network that all traffic takes
	Aborted                 // likewise: we ended it, and may dial again at once
	Ourself                 // the peer is this process
)

// charge is what an outcome is for the dial policy.
func (o Outcome) charge() dialOutcome {
	switch o {
	case Answered:
		return dialAnswered
	case Unsent, Down, Aborted, Ourself:
		return dialUnsent
	}
	return dialFailed
}

// try is a dial that is helped by a relay if it takes long.
type try struct {
	addr netip.AddrPort
	help time.Duration // when
}

// mayDial reports whether peers are wanted at all.
func (p *Pool) mayDial() bool {
	return !p.needs.Stopped && !p.needs.Paused && !(p.needs.Complete && p.needs.NoUpload)
}

// busy is the dials of a search, and its outgoing connections to peers that may have the metadata.
func (p *Pool) busy() (n int) {
	for _, c := range p.slots {
		if c != nil && c.Outgoing && !c.idle {
			n++
		}
	}
	return n + p.dialing
}

// hasRoom reports whether another dial fits; more is how many beyond the usual bound of a search may.
func (p *Pool) hasRoom(more int) bool {
	if p.tenant.Search {
		return p.busy() < maxSearched+more
	}
	return p.live+p.dialing < p.tenant.MaxPeers
}

// fill dials known addresses while there is room.
func (p *Pool) fill(now time.Duration) {
	for p.mayDial() && p.hasRoom(0) && p.dialing < maxDialing {
		a := p.known.pick(now, p.needs.Complete)
		if a == nil {
			return
		}
		if p.peerAt(a.addr) != nil { // it came to us
			a.due = now + lookAgain
			continue
		}
		ticket, wait := p.cfg.Limits.dial(p.clock(now), a.addr.Addr(), a.by)
		switch {
		case ticket != nil:
			p.dial(now, a, Dial{Addr: a.addr, Eager: p.needs.Empty && !a.plain, Ticket: ticket})
		case wait == 0: // no place
			return
		default: // another pool's dial was first
			a.due = now + wait
		}
	}
}

// dial starts a dial of an address; a is nil if a relay alone knows it.
func (p *Pool) dial(now time.Duration, a *address, d Dial) {
	p.dialing++
	if a != nil {
		a.inUse = true
		a.dials++
		d.counted = true
		d.V2, d.Encrypt = a.v2, a.encrypt
	}
	if a != nil && !d.Punch {
		a.asked = 0
		if p.punches() {
			p.trying = append(p.trying, try{d.Addr, now + punchLead})
		}
	}
	p.do(Action{Kind: StartDial, Dial: d})
}

// Dialed takes the outcome of a dial. If the peer answered, [Pool.Join] follows.
func (p *Pool) Dialed(now time.Duration, d Dial, o Outcome, encrypted bool) {
	p.dialing--
	if !d.Punch {
		if i := slices.IndexFunc(p.trying, func(t try) bool { return t.addr == d.Addr }); i >= 0 {
			p.trying = slices.Delete(p.trying, i, i+1)
		}
	}
	a := p.known.at(d.Addr)
	if a != nil && d.counted {
		a.dials--
	}
	if o == Answered {
		if a != nil {
			a.encrypt, a.answered = encrypted, true
		}
		return
	}
	defer p.fill(now)
	if a == nil || !d.counted || a.dials > 0 || p.reaches(d.Addr) { // another way to it may work, or does
		return
	}
	switch o {
	case Down:
		a.postponed(now)
		return
	case Aborted:
		a.inUse, a.due = false, now
		return
	case Failed, Unsent:
		if a.asked == 0 {
			p.askRelay(now, d.Addr)
		}
	case HungUp, Silent: // it may be in one of the two swarms alone
		if p.tenant.Hybrid {
			a.v2 = !a.v2
		}
	case Ourself:
		a.banned = true
	}
	if o == Silent && !a.v2 { // a box on the way may swallow one of the two
		a.encrypt = !a.encrypt
	}
	a.failed(now)
}

// reaches reports whether a connection of ours to an address is there.
func (p *Pool) reaches(addr netip.AddrPort) bool {
	return slices.ContainsFunc(p.slots, func(c *peer) bool { return c != nil && c.Outgoing && c.Addr == addr })
}

// peerAt is the connection to the peer of an address: where it listens, or its end of the connection.
func (p *Pool) peerAt(addr netip.AddrPort) *peer {
	for _, c := range p.slots {
		if c != nil && (c.listens == addr || c.Addr == addr) {
			return c
		}
	}
	return nil
}
