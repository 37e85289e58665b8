package peers

import (
	"net/netip"
	"time"
)

// IntroducerKind is a way in which addresses become known.
type IntroducerKind uint8

// The ways. ByUser is for addresses that the user, or the link that the user
// chose, names.
const (
	ByUser IntroducerKind = iota
	ByTracker
	ByDHT
	ByLSD
	ByPeer // PEX (BEP 11) and holepunching (BEP 55)
)

// Introducer is who told of an address. Introducers that are equal are one.
type Introducer struct {
	Kind IntroducerKind
	Name string // a tracker's host or a peer's network; "" where there is one of the kind
}

// byPeer is the introducer of what a peer says. Peers of one network are one.
func byPeer(addr netip.Addr) Introducer {
	return Introducer{Kind: ByPeer, Name: neighbourhood(addr).String()}
}

// dialBound is how many dials may fail: so many at once, and rate per second.
// Each one that succeeds adds earned to the first, up to most.
type dialBound struct{ burst, rate, earned, most float64 }

// The bounds. Most clients' addresses cannot be reached, so that introducers have
// room for some hundred failures; a host has room for some ports that do not answer.
var (
	hostBound    = dialBound{burst: 16, rate: 0.1, earned: 4, most: 48}
	networkBound = dialBound{burst: 64, rate: 1, earned: 2, most: 192} // a /24, or a /64 of IPv6
	peerBound    = dialBound{burst: 100, rate: 1, earned: 2, most: 100}
	sourceBound  = dialBound{burst: 1000, rate: 5, earned: 2, most: 1000}
)

func (i Introducer) bound() dialBound {
	if i.Kind == ByPeer {
		return peerBound
	}
	return sourceBound
}

// maxAccounts bounds what is remembered of hosts, of networks and of introducers, each.
const maxAccounts = 4096

// dialPolicy decides whether an address may be dialled now. Strangers name the
// addresses that we connect to, so that without it we could be made to connect to a
// victim. A dial is charged to the host, to the network around it and to one
// of those who told of the address. A handshake that is answered as it should be gives
// the charge back and earns room for more; a failure is forgotten with time. So what is
// bounded is failures: a swarm behind one address, or a network full of clients, is
// dialled as fast as it answers.
//
// It is pure: now is an argument, which never goes back.
type dialPolicy struct {
	hosts, networks map[netip.Prefix]dialAccount
	introducers     map[Introducer]dialAccount
}

// dialAccount is the charges of one host, network or introducer.
type dialAccount struct {
	charge float64 // attempts under way, and failed ones, less what time took off
	extra  float64 // room beside the burst, earned by success
	at     time.Duration
}

// aged is the account at a time.
func (a dialAccount) aged(now time.Duration, b dialBound) dialAccount {
	a.charge = max(0, a.charge-b.rate*(now-a.at).Seconds())
	a.at = now
	return a
}

// wait is how long it takes until another attempt fits.
func (a dialAccount) wait(now time.Duration, b dialBound) time.Duration {
	over := a.aged(now, b).charge + 1 - b.burst - a.extra
	if over <= 0 {
		return 0
	}
	return time.Duration(over/b.rate*float64(time.Second)) + time.Millisecond
}

// dialOutcome is how an attempt ended.
type dialOutcome uint8

const (
	dialFailed   dialOutcome = iota
	dialAnswered             // the peer shook hands
	dialUnsent               // it never left this machine, or says nothing about the peer
)

// settled is the account after an attempt of some cost ended.
func (a dialAccount) settled(now time.Duration, b dialBound, cost float64, o dialOutcome) dialAccount {
	a = a.aged(now, b)
	switch o {
	case dialAnswered:
		a.charge = max(0, a.charge-cost)
		a.extra = min(a.extra+b.earned, b.most)
	case dialUnsent:
		a.charge = max(0, a.charge-cost)
	case dialFailed:
		a.extra = max(0, a.extra-cost)
	}
	return a
}

// hostOf is the prefix of one address, networkOf that of its surroundings.
func hostOf(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	return netip.PrefixFrom(a, a.BitLen())
}

func networkOf(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 24
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p
}

// wait is how long an address must wait before it may be dialled at the word of one of
// those who told of it, and the one that would be charged.
func (p *dialPolicy) wait(now time.Duration, addr netip.Addr, by []Introducer) (time.Duration, Introducer) {
	var who Introducer
	var told time.Duration
	for i, o := range by {
		if o.Kind == ByUser {
			who, told = o, 0
			break
		}
		if w := p.introducers[o].wait(now, o.bound()); i == 0 || w < told {
			who, told = o, w
		}
	}
	w := max(p.hosts[hostOf(addr)].wait(now, hostBound), p.networks[networkOf(addr)].wait(now, networkBound))
	return max(w, told), who
}

// charge notes an attempt of some cost. It may exceed the bounds: an attempt that goes
// on by another way does.
func (p *dialPolicy) charge(now time.Duration, addr netip.Addr, who Introducer, cost float64) {
	p.update(addr, who, func(a dialAccount, b dialBound) dialAccount {
		a = a.aged(now, b)
		a.charge += cost
		return a
	})
}

// settle notes how an attempt ended that was charged with some cost.
func (p *dialPolicy) settle(now time.Duration, addr netip.Addr, who Introducer, cost float64, o dialOutcome) {
	p.update(addr, who, func(a dialAccount, b dialBound) dialAccount { return a.settled(now, b, cost, o) })
}

// update changes the three accounts of an attempt.
func (p *dialPolicy) update(addr netip.Addr, who Introducer, f func(dialAccount, dialBound) dialAccount) {
	updateAccount(&p.hosts, hostOf(addr), hostBound, f)
	updateAccount(&p.networks, networkOf(addr), networkBound, f)
	if who.Kind != ByUser {
		updateAccount(&p.introducers, who, who.bound(), f)
	}
}

func updateAccount[K comparable](m *map[K]dialAccount, k K, b dialBound, f func(dialAccount, dialBound) dialAccount) {
	if *m == nil {
		*m = map[K]dialAccount{}
	}
	old, known := (*m)[k]
	a := f(old, b)
	if a.charge == 0 && a.extra == 0 {
		delete(*m, k)
		return
	}
	if !known && len(*m) >= maxAccounts {
		dropAccount(*m, a.at, b)
	}
	(*m)[k] = a
}

// dropAccount makes room: of some accounts, drawn by chance, the least charged goes.
func dropAccount[K comparable](m map[K]dialAccount, now time.Duration, b dialBound) {
	const draw = 16
	var least K
	n, lowest := 0, 0.0
	for k, a := range m {
		if charge := a.aged(now, b).charge; n == 0 || charge < lowest {
			least, lowest = k, charge
		}
		if n++; n == draw {
			break
		}
	}
	delete(m, least)
}

// forgive forgets all failures: this machine has another network.
func (p *dialPolicy) forgive() { *p = dialPolicy{} }
