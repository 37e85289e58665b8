package peers

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"torrentfs/picker"
)

const (
	maxAddresses = 3000
	firstRetry   = 4 * time.Second
	longestRetry = 10 * time.Minute
)

// address is a known peer: where one may be, and how the attempts went. A
// connection to it is another thing.
type address struct {
	addr     netip.AddrPort
	priority uint32        // BEP 40, of a connection from self
	self     netip.Addr    // for which priority was computed
	due      time.Duration // not to be dialled before
	failures int
	heldBack int             // times that the dial policy said no
	by       []Introducer    // who told of it, the newest last
	inUse    bool            // dialling or connected
	dials    int             // under way: one of its own accord, others at the word of relays (BEP 55)
	relays   []picker.PeerID // connections that told of it (BEP 11) and know BEP 55, the newest last
	asked    int             // how many of them were asked for a rendezvous since it was last dialled
	plain    bool            // closes on an eager greeting: wait for its handshake
	v2       bool            // did not answer to the v1 info-hash of a hybrid: ask by the other
	noHashes bool            // breaks the protocol when it is asked for hashes: it no longer is
	encrypt  bool            // takes MSE, not a plain handshake
	seed     bool            // had every piece when last seen
	banned   bool
	answered bool // shook hands once
}

// addressBook is the addresses that a pool knows.
type addressBook struct {
	byAddr map[netip.AddrPort]*address
	list   []*address
	self   ballot // where we are, as peers see us
	rand   *rand.Rand
	limits *Limits   // nil: none
	start  time.Time // zero of the clock
}

// at is what is known of an address, nil if it is not known.
func (b *addressBook) at(addr netip.AddrPort) *address { return b.byAddr[addr] }

// soonest is when the next address may be dialled; never if none may.
func (b *addressBook) soonest(skipSeeds bool) time.Duration {
	due := never
	for _, a := range b.list {
		if !a.inUse && !a.banned && !(skipSeeds && a.seed) {
			due = min(due, a.due)
		}
	}
	return due
}

// add notes an address and who told of it, and reports whether it is new.
func (b *addressBook) add(addr netip.AddrPort, by Introducer, now time.Duration) bool {
	addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
	if !addr.IsValid() || addr.Port() == 0 || addr.Addr().IsUnspecified() || addr.Addr().IsMulticast() {
		return false
	}
	if a := b.byAddr[addr]; a != nil {
		a.introducedBy(by)
		return false
	}
	if len(b.list) >= maxAddresses && !b.forgetWorst() {
		return false
	}
	if b.byAddr == nil {
		b.byAddr = map[netip.AddrPort]*address{}
	}
	a := &address{addr: addr, due: now, by: []Introducer{by}}
	b.byAddr[addr] = a
	b.list = append(b.list, a)
	return true
}

// maxIntroducers bounds who is remembered of those who told of an address.
const maxIntroducers = 3

// introducedBy notes another one who told of the address.
func (a *address) introducedBy(by Introducer) {
	if slices.Contains(a.by, by) {
		return
	}
	if len(a.by) == maxIntroducers { // peers change, the others are few
		i := slices.IndexFunc(a.by, func(o Introducer) bool { return o.Kind == ByPeer })
		if i < 0 {
			return
		}
		a.by = slices.Delete(a.by, i, i+1)
	}
	a.by = append(a.by, by)
}

// forgetWorst makes room by dropping the address that failed most, or was held back by
// the dial policy most often.
func (b *addressBook) forgetWorst() bool {
	worst := -1
	for i, a := range b.list {
		if !a.inUse && !a.banned && a.failures+a.heldBack > 0 &&
			(worst < 0 || a.failures+a.heldBack > b.list[worst].failures+b.list[worst].heldBack) {
			worst = i
		}
	}
	if worst < 0 {
		return false
	}
	delete(b.byAddr, b.list[worst].addr)
	last := len(b.list) - 1
	b.list[worst] = b.list[last]
	b.list = b.list[:last]
	return true
}

// pick chooses an address to dial, of those that failed least the one of the highest canonical priority (BEP 40), or a
// random one while our own address is not known; nil if none is due. A torrent that has every piece leaves known seeds alone.
func (b *addressBook) pick(now time.Duration, skipSeeds bool) *address {
	var best *address
	ties := 0
	for _, a := range b.list {
		if a.inUse || a.banned || a.due > now || skipSeeds && a.seed {
			continue
		}
		switch {
		case best == nil || a.failures < best.failures:
			if b.mayDial(a, now) {
				best, ties = a, 1
			}
		case a.failures == best.failures:
			if ties++; b.better(a, best, ties) && b.mayDial(a, now) {
				best = a
			}
		}
	}
	return best
}

// mayDial asks the dial policy. An address that is held back is due when it may be dialled.
func (b *addressBook) mayDial(a *address, now time.Duration) bool {
	if b.limits == nil {
		return true
	}
	wait := b.limits.wait(b.start.Add(now), a.addr.Addr(), a.by)
	if wait > 0 {
		a.due = now + wait
		a.heldBack++
	}
	return wait == 0
}

// better breaks a tie: for the last of so many addresses that were compared.
func (b *addressBook) better(a, than *address, ties int) bool {
	if p, q := b.priority(a), b.priority(than); p != q {
		return p > q
	}
	return b.rand.IntN(ties) == 0
}

// priority is that of BEP 40. Our port as a peer sees it is not known, so that
// addresses of our own host have none.
func (b *addressBook) priority(a *address) uint32 {
	self := b.self.of(a.addr.Addr())
	if !self.IsValid() || self == a.addr.Addr() {
		return 0
	}
	if a.self != self {
		a.self, a.priority = self, Priority(netip.AddrPortFrom(self, 0), a.addr)
	}
	return a.priority
}

// failed schedules the next attempt.
func (a *address) failed(now time.Duration) {
	a.inUse = false
	a.due = now + min(firstRetry<<min(a.failures, 10), longestRetry)
	a.failures++
}

// postponed schedules the next attempt after one that never began.
func (a *address) postponed(now time.Duration) {
	a.inUse = false
	a.due = now + firstRetry
}

// forgive makes every address due that failed before, or that waits for
// another attempt: the network is another one.
func (b *addressBook) forgive(now time.Duration) {
	for _, a := range b.list {
		a.failures, a.due = 0, min(a.due, now)
	}
}

// released schedules a new attempt after a connection that worked.
func (a *address) released(now time.Duration) {
	a.inUse = false
	a.failures, a.heldBack = 0, 0
	a.due = now + firstRetry
}
