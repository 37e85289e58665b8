package peers

import (
	"net/netip"
	"testing"
	"time"
)

// Dials take a place for a connection and one for a dial, and give back what they do not keep.
func TestLimitsCountConnectionsAndDials(t *testing.T) {
	at := time.Unix(1e9, 0)
	l := NewLimits(at, 3, 2)
	addr := func(i byte) netip.Addr { return netip.AddrFrom4([4]byte{8, i, 1, 1}) }
	one, _ := l.dial(at, addr(1), nil)
	two, _ := l.dial(at, addr(2), nil)
	if none, wait := l.dial(at, addr(3), nil); one == nil || two == nil || none != nil || wait != 0 {
		t.Fatal("want two dials under way, and no third")
	}
	if !l.Accept() || l.Accept() {
		t.Fatal("want room for one connection that comes")
	}
	one.End(at, Answered)
	two.End(at, Failed)
	if n := l.Conns(); n != 2 {
		t.Errorf("%d connections, want that of the first dial and the one that came", n)
	}
	three, _ := l.dial(at, addr(3), nil)
	if four, _ := l.dial(at, addr(4), nil); three == nil || four != nil {
		t.Error("want one more dial, and no other")
	}
	three.End(at, Unsent)
	l.Release()
	l.Release()
	if n := l.Conns(); n != 0 {
		t.Errorf("%d connections at the end", n)
	}
}
