package peers

import (
	"encoding/binary"
	"net/netip"
	"testing"
)

func TestOneLiarIsBannedAloneAndTwoBanTheirNetwork(t *testing.T) {
	at := netip.MustParseAddrPort
	tests := []struct {
		name      string
		liars     []string
		in, other string // banned, and not
	}{
		{"one liar", []string{"10.0.0.1:1"}, "10.0.0.1:1", "10.0.0.1:2"},
		{"the same twice", []string{"10.0.0.1:1", "10.0.0.1:1"}, "10.0.0.1:1", "10.0.0.1:2"},
		{"two ports", []string{"10.0.0.1:1", "10.0.0.1:2"}, "10.0.0.1:3", "10.0.0.2:1"},
		{"IPv4 in IPv6", []string{"10.0.0.1:1", "[::ffff:10.0.0.1]:2"}, "10.0.0.1:3", "10.0.0.2:3"},
		{"one network of IPv6", []string{"[2001:db8::1]:1", "[2001:db8::2]:1"}, "[2001:db8::3]:1", "[2001:db8:0:1::1]:1"},
	}
	for _, tt := range tests {
		var l banList
		for _, a := range tt.liars {
			l.ban(at(a))
		}
		if !l.has(at(tt.in)) || l.has(at(tt.other)) {
			t.Errorf("%s: %s banned %v, %s banned %v", tt.name, tt.in, l.has(at(tt.in)), tt.other, l.has(at(tt.other)))
		}
	}
	var l banList
	l.ban(at("127.0.0.1:1"))
	l.ban(at("127.0.0.1:2"))
	if l.has(at("127.0.0.1:3")) {
		t.Error("all of this machine is banned")
	}
}

func TestBanListIsBounded(t *testing.T) {
	var l banList
	for i := range uint32(2 * maxBans) {
		var ip [4]byte
		binary.BigEndian.PutUint32(ip[:], 10<<24+i)
		for port := range uint16(2) {
			l.ban(netip.AddrPortFrom(netip.AddrFrom4(ip), 1+port))
		}
		if err := l.CheckInvariants(); err != nil {
			t.Fatal(err)
		}
	}
}
