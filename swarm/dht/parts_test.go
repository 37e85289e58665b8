package dht

import (
	"encoding/hex"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The examples of BEP 42.
func TestIDVectors(t *testing.T) {
	for _, tt := range []struct{ addr, id string }{
		{"124.31.75.21", "5fbfbff10c5d6a4ec8a88e4c6ab4c28b95eee401"},
		{"21.75.31.124", "5a3ce9c14e7a08645677bbd1cfe7d8f956d53256"},
		{"65.23.51.170", "a5d43220bc8f112a3d426c84764f8c2a1150e616"},
		{"84.124.73.14", "1b0321dd1bb1fe518101ceef99462b947a01ff41"},
		{"43.213.53.83", "e56f6cbf5b7c4be0237986d5243b87aa6d51305a"},
	} {
		b, err := hex.DecodeString(tt.id)
		if err != nil {
			t.Fatal(err)
		}
		id, addr := nodeID(b), netip.MustParseAddr(tt.addr)
		if !idFits(id, addr) {
			t.Errorf("%s does not fit %s", tt.id, addr)
		}
		id[0] ^= 1
		if idFits(id, addr) {
			t.Errorf("a changed id fits %s", addr)
		}
		if !idFits(id, netip.MustParseAddr("192.168.1.1")) {
			t.Error("an id does not fit a private address")
		}
	}
}

func TestNewIDFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "addr")
		if rapid.Bool().Draw(t, "v6") {
			b = append([]byte{0x20, 1}, rapid.SliceOfN(rapid.Byte(), 14, 14).Draw(t, "addr6")...)
		}
		addr, _ := netip.AddrFromSlice(b)
		if !idFits(newID(rand.New(rand.NewPCG(1, rapid.Uint64().Draw(t, "seed"))), addr), addr) {
			t.Fatalf("id does not fit %v", addr)
		}
	})
}

func TestBallot(t *testing.T) {
	var b ballot
	ours, lie := netip.MustParseAddr("81.2.3.4"), netip.MustParseAddr("99.9.9.9")
	for i := range 20 { // many nodes of one network are one voice
		if _, ok := b.vote(netip.AddrFrom4([4]byte{50, 1, 1, byte(i)}), lie); ok {
			t.Fatal("one network decides")
		}
	}
	var ok bool
	for i := range 4 {
		_, ok = b.vote(netip.AddrFrom4([4]byte{60, byte(i), 1, 1}), ours)
	}
	if !ok {
		t.Error("four of five do not decide")
	}
	if _, ok := b.vote(netip.AddrFrom4([4]byte{70, 1, 1, 1}), netip.MustParseAddr("192.168.1.7")); ok {
		t.Error("a private address was taken")
	}
	for i := range 200 { // we have moved
		_, ok = b.vote(netip.AddrFrom4([4]byte{80, byte(i), 1, 1}), lie)
	}
	if !ok || len(b.votes) > maxVoters {
		t.Errorf("%d voters, moved: %v", len(b.votes), ok)
	}
}

func TestTokens(t *testing.T) {
	next := byte(0)
	tk := tokens{fresh: func() [16]byte { next++; return [16]byte{next} }}
	a, b := netip.MustParseAddr("1.2.3.4"), netip.MustParseAddr("1.2.3.5")
	token := tk.make(epoch, a)
	for _, tt := range []struct {
		after time.Duration
		addr  netip.Addr
		token string
		want  bool
	}{
		{0, a, token, true},
		{0, b, token, false},
		{0, a, "", false},
		{0, a, token[:7], false},
		{tokenLife, a, token, true},
		{2 * tokenLife, a, token, false},
		{time.Hour, a, token, false},
	} {
		if got := tk.valid(epoch.Add(tt.after), tt.addr, tt.token); got != tt.want {
			t.Errorf("after %v, %v, %q: %v", tt.after, tt.addr, tt.token, got)
		}
	}
}

func TestPeerStore(t *testing.T) {
	s := newPeerStore(rand.New(rand.NewPCG(1, 2)))
	hash := nodeID{1}
	s.add(epoch, hash, ap("1.1.1.1:1"))
	s.add(epoch.Add(peerLife/2), hash, ap("2.2.2.2:2"))
	if got := s.get(epoch.Add(peerLife/2), hash, 9); len(got) != 2 {
		t.Errorf("got %v", got)
	}
	if got := s.get(epoch.Add(peerLife), hash, 9); !slices.Equal(got, []netip.AddrPort{ap("2.2.2.2:2")}) {
		t.Errorf("after a life: %v", got)
	}
	now := epoch
	for i := range 3 * maxSwarmPeers {
		now = now.Add(time.Second)
		s.add(now, hash, netip.AddrPortFrom(netip.AddrFrom4([4]byte{3, 3, byte(i >> 8), byte(i)}), 3))
	}
	if got := len(s.swarms[hash].peers); got != maxSwarmPeers {
		t.Errorf("%d peers kept", got)
	}
	if got := s.get(now, hash, 50); len(got) != 50 {
		t.Errorf("%d peers returned", len(got))
	}
	for i := range 2 * maxSwarms {
		now = now.Add(time.Millisecond)
		s.add(now, nodeID{2, byte(i >> 8), byte(i)}, ap("1.1.1.1:1"))
	}
	if got := len(s.swarms); got != maxSwarms {
		t.Errorf("%d info-hashes kept", got)
	}
	if s.swarms[hash] != nil {
		t.Error("who announced long ago outlived thousands of others")
	}
	some, again, total := s.sample(now)
	if len(some) != maxSamples || total != maxSwarms || again != sampleInterval {
		t.Errorf("sample of %d for %v of %d", len(some), again, total)
	}
	if same, again, _ := s.sample(now.Add(time.Minute)); !slices.Equal(same, some) || again != sampleInterval-time.Minute {
		t.Error("the sample changed before its time")
	}
	if _, _, total := s.sample(now.Add(2 * peerLife)); total != 0 {
		t.Errorf("%d info-hashes outlived their peers", total)
	}
}

func TestNoise(t *testing.T) {
	var n noise
	loud, calm := netip.MustParseAddr("1.2.3.4"), netip.MustParseAddr("1.2.3.5")
	for range noiseLimit {
		if !n.allow(epoch, loud) {
			t.Fatal("blocked too early")
		}
	}
	if n.allow(epoch, loud) || !n.allow(epoch, calm) || n.blocked(epoch) != 1 {
		t.Error("the wrong one is blocked")
	}
	if n.allow(epoch.Add(noiseBlock-time.Second), loud) || !n.allow(epoch.Add(noiseBlock), loud) {
		t.Error("blocked for the wrong time")
	}
	for i := range 5 * noiseKeep {
		n.allow(epoch, netip.AddrFrom4([4]byte{9, 9, byte(i >> 8), byte(i)}))
	}
	if len(n.sources) > noiseKeep {
		t.Errorf("%d sources watched", len(n.sources))
	}
	for i := range noiseLimit + 1 { // a host with a whole network
		n.allow(epoch, netip.MustParseAddr("2001:db8::").Next().Next())
		if i == noiseLimit && n.allow(epoch, netip.MustParseAddr("2001:db8::ffff")) {
			t.Error("an IPv6 network is not one source")
		}
	}
}
