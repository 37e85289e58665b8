package peers

import (
	"net/netip"
	"testing"
)

// The first two are the examples of BEP 40.
func TestPeerPriority(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want uint32
	}{
		{"123.213.32.10:0", "98.76.54.32:0", 0xec2d7224},
		{"123.213.32.10:0", "123.213.32.234:0", 0x99568189},
		{"1.2.3.4:5", "[2001:db8::1]:5", 0},
	} {
		a, b := netip.MustParseAddrPort(c.a), netip.MustParseAddrPort(c.b)
		if got := Priority(a, b); got != c.want {
			t.Errorf("%s and %s: %08x, want %08x", c.a, c.b, got, c.want)
		}
		if Priority(a, b) != Priority(b, a) {
			t.Errorf("%s and %s: not the same from both sides", c.a, c.b)
		}
	}
	same := func(a, b, c, d string) bool {
		return Priority(netip.MustParseAddrPort(a), netip.MustParseAddrPort(b)) ==
			Priority(netip.MustParseAddrPort(c), netip.MustParseAddrPort(d))
	}
	if !same("[2001:db8:1:2::1]:1", "[2001:db8:9::1]:1", "[2001:db8:1:8a::1]:2", "[2001:db8:9:aa::1]:3") {
		t.Error("IPv6: bits behind the mask count")
	}
	if same("1.2.3.4:5", "1.2.3.4:6", "1.2.3.4:5", "1.2.3.4:7") {
		t.Error("one host: ports do not count")
	}
}

// Our address is believed once a few peers agree, and then chooses whom to dial.
func TestPrioritySettlesTies(t *testing.T) {
	b := newTestBook()
	for i := range 50 {
		b.add(netip.AddrPortFrom(netip.AddrFrom4([4]byte{98, byte(i), 54, 32}), 6881), Introducer{}, 0)
	}
	self := netip.MustParseAddr("123.213.32.10")
	b.self.vote("1", self)
	b.self.vote("1", self)
	b.self.vote("2", self)
	if b.self.of(self).IsValid() {
		t.Error("two peers were enough")
	}
	b.self.vote("tracker.example", self) // BEP 24
	best := b.pick(0, false)
	for _, a := range b.list {
		if p := Priority(netip.AddrPortFrom(self, 0), a.addr); p > best.priority {
			t.Errorf("%v (%08x) was chosen before %v (%08x)", best.addr, best.priority, a.addr, p)
		}
	}
	if again := b.pick(0, false); again != best {
		t.Error("the choice is not settled")
	}
}
