package peers

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

func newTestBook() *addressBook { return &addressBook{rand: rand.New(rand.NewPCG(3, 4))} }

func addrOf(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 6881)
}

func TestAddressBookRefusesWhatCannotBeDialled(t *testing.T) {
	b := newTestBook()
	for _, s := range []string{"0.0.0.0:6881", "10.0.0.1:0", "224.0.0.1:6881", "[::]:1", "[ff02::1]:6881"} {
		if b.add(netip.MustParseAddrPort(s), Introducer{}, 0) {
			t.Errorf("took %s", s)
		}
	}
	if b.add(netip.AddrPort{}, Introducer{}, 0) {
		t.Error("took the zero address")
	}
	if !b.add(netip.MustParseAddrPort("[::ffff:10.0.0.1]:6881"), Introducer{}, 0) || b.add(netip.MustParseAddrPort("10.0.0.1:6881"), Introducer{}, 0) {
		t.Error("a mapped IPv4 address and its short form are two addresses")
	}
}

func TestAddressBookIsBounded(t *testing.T) {
	b := newTestBook()
	for i := range maxAddresses {
		b.add(addrOf(i), Introducer{}, 0)
	}
	if b.add(addrOf(maxAddresses), Introducer{}, 0) {
		t.Error("grew beyond its limit by addresses never tried")
	}
	b.byAddr[addrOf(7)].failed(0)
	if !b.add(addrOf(maxAddresses), Introducer{}, 0) {
		t.Error("kept a failed address instead of a new one")
	}
	if b.byAddr[addrOf(7)] != nil || len(b.list) != maxAddresses || len(b.byAddr) != maxAddresses {
		t.Errorf("list %d, map %d, want %d each without the failed one", len(b.list), len(b.byAddr), maxAddresses)
	}
}

func TestAddressBookBacksOff(t *testing.T) {
	b := newTestBook()
	b.add(addrOf(1), Introducer{}, 0)
	now := time.Duration(0)
	last := time.Duration(0)
	for range 12 {
		a := b.pick(now, false)
		if a == nil {
			t.Fatalf("nothing to dial at %v", now)
		}
		a.failed(now)
		wait := a.due - now
		if wait < last || wait > longestRetry {
			t.Errorf("retry after %v, before it was %v", wait, last)
		}
		if b.pick(a.due-1, false) != nil {
			t.Error("dialled before its time")
		}
		last, now = wait, a.due
	}
	if last != longestRetry {
		t.Errorf("retries end at %v, want %v", last, longestRetry)
	}
}

func TestAddressBookPrefersWhatFailedLeast(t *testing.T) {
	b := newTestBook()
	for i := range 3 {
		b.add(addrOf(i), Introducer{}, 0)
	}
	b.byAddr[addrOf(0)].failed(0)
	b.byAddr[addrOf(1)].banned = true
	if a := b.pick(time.Hour, false); a == nil || a.addr != addrOf(2) {
		t.Errorf("picked %+v", a)
	}
	b.byAddr[addrOf(2)].seed = true
	if a := b.pick(time.Hour, true); a == nil || a.addr != addrOf(0) {
		t.Errorf("as a seed picked %+v, want the address not known as a seed", a)
	}
}

// An attempt that never left this machine says nothing about the peer.
func TestAddressBookPostpones(t *testing.T) {
	b := newTestBook()
	b.add(addrOf(1), Introducer{}, 0)
	now := time.Duration(0)
	for range 100 {
		a := b.pick(now, false)
		if a == nil {
			t.Fatalf("nothing to dial at %v", now)
		}
		a.inUse = true
		a.postponed(now)
		if a.due != now+firstRetry || a.failures != 0 || a.inUse {
			t.Fatalf("postponed at %v: %+v", now, a)
		}
		now = a.due
	}
}
