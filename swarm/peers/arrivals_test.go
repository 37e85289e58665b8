package peers

import (
	"net/netip"
	"testing"
	"time"
)

// Of connections that have not shaken hands those of the most crowded network give way.
func TestNewcomersOfOneNetworkGiveWay(t *testing.T) {
	var h Handshaking[int]
	closed := map[int]bool{}
	enter := func(c int, from string) {
		if gone, full := h.Enter(c, netip.MustParseAddr(from)); full {
			closed[gone] = true
		}
	}
	const honest = -1
	enter(honest, "10.0.1.1")
	crowd := 10 * MaxHandshaking
	for i := range crowd {
		enter(i, "10.0.2.1")
	}
	if h.Len() != MaxHandshaking || closed[honest] {
		t.Errorf("%d connections wait, want %d; the honest one is closed: %v", h.Len(), MaxHandshaking, closed[honest])
	}
	for i := range crowd {
		if old := i < crowd-MaxHandshaking+1; closed[i] != old {
			t.Errorf("connection %d of %d is closed: %v", i, crowd, closed[i])
		}
	}
	h.Leave(honest)
	if h.Len() != MaxHandshaking-1 {
		t.Errorf("%d connections wait after one has left", h.Len())
	}
}

// One network may connect so often at once, and so often per second; another is not kept waiting for it.
func TestArrivalsOfOneNetworkAreBounded(t *testing.T) {
	var a Arrivals
	at := time.Unix(1e9, 0)
	taken := 0
	for range 30 * 200 {
		at = at.Add(5 * time.Millisecond)
		if a.Admit(at, netip.MustParseAddr("10.0.2.1")) {
			taken++
		}
	}
	if most := int(arrivalBound.burst + 30*arrivalBound.rate); taken > most || taken < most-2 {
		t.Errorf("%d connections of one address are taken within half a minute, want %d", taken, most)
	}
	if !a.Admit(at, netip.MustParseAddr("10.0.3.1")) {
		t.Error("another address is refused")
	}
}
