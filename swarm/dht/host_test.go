package dht

import (
	"encoding/hex"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/time/rate"
	"pgregory.net/rapid"

	"torrentfs/metainfo/bencode"
)

var epoch = time.Unix(1_700_000_000, 0)

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

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

func TestNearest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHost(false, rand.New(rand.NewPCG(1, 2)))
		var all []nodeInfo
		for i := range rapid.IntRange(0, 60).Draw(t, "nodes") {
			var id nodeID
			copy(id[:], rapid.SliceOfN(rapid.Byte(), 20, 20).Draw(t, "id"))
			n := nodeInfo{id, netip.AddrPortFrom(netip.AddrFrom4([4]byte{1, 1, 1, byte(i)}), 1)}
			all = append(all, n)
			h.heard(epoch, n, netip.Addr{})
		}
		target := nodeID{0x55}
		slices.SortFunc(all, func(a, b nodeInfo) int { return compareDistance(&target, &a.id, &b.id) })
		got := h.nearest(epoch, target, closest)
		if len(got) != min(len(all), closest) {
			t.Fatalf("%d nodes of %d", len(got), len(all))
		}
		for i := range got {
			if got[i].id != all[i].id {
				t.Fatalf("node %d is not the nearest", i)
			}
		}
		if len(h.nearest(epoch.Add(nodeLife), target, closest)) != 0 {
			t.Fatal("silent nodes were returned")
		}
	})
}

// ask lets a host answer a query and decodes what it says.
func ask(t *testing.T, h *host, from netip.AddrPort, packet string) bencode.Dict {
	t.Helper()
	m, err := parseMessage([]byte(packet))
	if err != nil {
		t.Fatal(err)
	}
	d, _, err := bencode.DecodeDict(h.answer(epoch, nodeID{7}, from, &m, "tf"), bencode.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if d["t"] != m.tid || d["ip"] != string(appendCompact(nil, from)) {
		t.Errorf("answer %v", d)
	}
	return d
}

func TestAnswers(t *testing.T) {
	h := newHost(false, rand.New(rand.NewPCG(1, 2)))
	h.sibling = newHost(true, rand.New(rand.NewPCG(1, 2)))
	h.heard(epoch, nodeInfo{nodeID([]byte(id20)), ap("5.6.7.8:6881")}, netip.Addr{})
	h.sibling.heard(epoch, nodeInfo{nodeID([]byte(id20)), ap("[2001::1]:6881")}, netip.Addr{})
	query := func(method, args string) string {
		return "d1:ad2:id20:" + id20 + args + "e1:q" + bencoded(method) + "1:t2:aa1:y1:qe"
	}
	target, infoHash := "6:target20:"+hash, "9:info_hash20:"+hash

	r, err := ask(t, h, stranger, query("find_node", target)).Dict("r")
	if err != nil || r["nodes"] != node4 || r.Has("nodes6") {
		t.Errorf("find_node: %v, %v", r, err)
	}
	r, err = ask(t, h, stranger, query("find_node", target+"4:wantl2:n6e")).Dict("r")
	if err != nil || r["nodes6"] != node6 || r.Has("nodes") {
		t.Errorf("find_node for n6: %v, %v", r, err)
	}
	r, err = ask(t, h, stranger, query("from_the_future", target)).Dict("r")
	if err != nil || r["nodes"] != node4 {
		t.Errorf("unknown method: %v, %v", r, err)
	}
	r, err = ask(t, h, stranger, query("get_peers", infoHash)).Dict("r")
	if err != nil || r.Has("values") || r["nodes"] != node4 {
		t.Errorf("get_peers: %v, %v", r, err)
	}
	token, err := r.String("token")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, args string
		from       netip.AddrPort
		ok         bool
	}{
		{"of somebody else", infoHash + "4:porti80e5:token8:" + token, ap("80.9.9.9:1"), false},
		{"with a wrong token", infoHash + "4:porti80e5:token8:xxxxxxxx", stranger, false},
		{"without a port", infoHash + "5:token8:" + token, stranger, false},
		{"of port 0", infoHash + "4:porti0e5:token8:" + token, stranger, false},
		{"of port 65536", infoHash + "4:porti65536e5:token8:" + token, stranger, false},
		{"without a target", "4:porti80e5:token8:" + token, stranger, false},
		{"of port 80", infoHash + "4:porti80e5:token8:" + token, stranger, true},
		{"of the socket's port", "12:implied_porti1e" + infoHash + "4:porti80e5:token8:" + token, stranger, true},
	} {
		if got := ask(t, h, tt.from, query("announce_peer", tt.args))["y"] == "r"; got != tt.ok {
			t.Errorf("announce %s: %v", tt.name, got)
		}
	}
	r, err = ask(t, h, ap("80.9.9.9:1"), query("get_peers", infoHash)).Dict("r")
	if err != nil {
		t.Fatal(err)
	}
	values, err := r.Strings("values")
	slices.Sort(values)
	if want := []string{string(appendCompact(nil, ap("80.1.2.3:80"))), string(appendCompact(nil, stranger))}; err != nil || !slices.Equal(values, want) {
		t.Errorf("values %q, want %q", values, want)
	}
	r, err = ask(t, h, stranger, query("sample_infohashes", target)).Dict("r")
	if err != nil || r["samples"] != hash || r["num"] != int64(1) || r["interval"] != int64(600) || r["nodes"] != node4 {
		t.Errorf("sample_infohashes: %v, %v", r, err)
	}
	for method, code := range map[string]int64{"find_node": 203, "nonsense": 204} {
		if e, err := ask(t, h, stranger, query(method, "")).List("e"); err != nil || e[0] != code {
			t.Errorf("%s without a target: %v, %v", method, e, err)
		}
	}
}

// Everything that can be in one answer fits what is reckoned with.
func TestAnswersFitAPacket(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		h, o := newHost(v6, rand.New(rand.NewPCG(1, 2))), newHost(!v6, rand.New(rand.NewPCG(1, 2)))
		h.sibling = o
		for i := range 2 * maxReturned4 {
			four := netip.AddrPortFrom(netip.AddrFrom4([4]byte{5, 5, 5, byte(i)}), 6881)
			six := netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x20, 1, 15: byte(i)}), 6881)
			own, other := four, six
			if v6 {
				own, other = six, four
			}
			h.heard(epoch, nodeInfo{nodeID{byte(i)}, own}, netip.Addr{})
			o.heard(epoch, nodeInfo{nodeID{byte(i)}, other}, netip.Addr{})
			h.store.add(epoch, nodeID([]byte(hash)), own)
		}
		m := message{kind: 'q', tid: strings.Repeat("t", maxTransaction), method: "get_peers", target: nodeID([]byte(hash)), targeted: true, want4: true, want6: true}
		if got := len(h.answer(epoch, nodeID{7}, h.nearest(epoch, nodeID{}, 1)[0].addr, &m, "tf\x00\x01")); got > maxAnswer || got < 1000 {
			t.Errorf("IPv6 %v: an answer of %d bytes", v6, got)
		}
	}
}

func bencoded(s string) string {
	b, _ := bencode.Encode(map[string]any{"": s})
	return strings.TrimSuffix(strings.TrimPrefix(string(b), "d0:"), "e")
}

// A reply counts only from the address and with the id of a query, once.
func TestRepliesMustBeAsked(t *testing.T) {
	var tid string
	g := newTestGuard(&fakeConn{out: func(b []byte, _ net.Addr) {
		d, _, _ := bencode.DecodeDict(b, bencode.Limits{})
		tid, _ = d.String("t")
	}})
	query := []byte("d1:ad2:id20:" + id20 + "e1:q4:ping1:t1:L1:y1:qe")
	if _, err := g.WriteTo(query, udpAddr(stranger)); err != nil {
		t.Fatal(err)
	}
	reply := func(tid string) []byte {
		return []byte("d1:rd2:id20:" + id20 + "5:nodes26:" + node4 + "e1:t" + bencoded(tid) + "1:y1:re")
	}
	now := time.Now()
	if len(tid) != 4 {
		t.Fatalf("transaction id %q went out", tid)
	}
	if g.receive(now, reply(tid), ap("80.1.2.3:1")) != nil || g.receive(now, reply("LLLL"), stranger) != nil {
		t.Error("a reply nobody asked for came through")
	}
	got := g.receive(now, reply(tid), stranger)
	if d, _, err := bencode.DecodeDict(got, bencode.Limits{}); err != nil || d["t"] != "L" {
		t.Errorf("the library sees %q, %v", got, err)
	}
	if g.receive(now, reply(tid), stranger) != nil {
		t.Error("a reply came through twice")
	}
	for _, to := range []string{"224.0.0.1:1", "1.2.3.4:0", "[2001::1]:6881", "0.0.0.1:1", "255.255.255.255:1"} {
		if _, err := g.WriteTo(query, udpAddr(ap(to))); err == nil {
			t.Errorf("asked %s", to)
		}
	}
}

func TestScreen(t *testing.T) {
	g := newTestGuard(&fakeConn{})
	var other []nodeInfo
	g.foreign = func(n []nodeInfo) { other = n }
	g.ignore = func(a netip.Addr) bool { return a == netip.MustParseAddr("6.6.6.6") }
	m := message{
		kind:   'r',
		nodes:  []nodeInfo{{nodeID{1}, ap("5.5.5.5:1")}, {nodeID{2}, ap("5.5.5.5:2")}, {nodeID{3}, ap("10.0.0.1:1")}, {nodeID{4}, ap("6.6.6.6:1")}, {g.id, ap("7.7.7.7:1")}, {nodeID{5}, ap("8.8.8.8:0")}},
		nodes6: []nodeInfo{{nodeID{1}, ap("[2001::1]:1")}, {nodeID{2}, ap("[::1]:1")}},
		values: []netip.AddrPort{ap("127.0.0.1:80"), ap("9.9.9.9:0"), ap("9.9.9.9:9")},
	}
	private := message{nodes: slices.Clone(m.nodes[2:3])}
	g.screen(&m, stranger)
	if len(m.nodes) != 1 || m.nodes[0].id != (nodeID{1}) || m.nodes6 != nil || len(m.values) != 1 || len(other) != 1 {
		t.Errorf("left: %+v, other family %v", m, other)
	}
	g.screen(&private, ap("10.0.0.2:1"))
	if len(private.nodes) != 1 {
		t.Error("a private node may not name another")
	}
}

// Answers to a flood stay within the rate, and the flood is ignored after a while.
func TestFlood(t *testing.T) {
	sent := 0
	g := newTestGuard(&fakeConn{out: func(b []byte, _ net.Addr) { sent += len(b) }})
	g.out = rate.NewLimiter(1000, 2000)
	query := []byte("d1:ad2:id20:" + id20 + "6:target20:" + hash + "e1:q9:find_node1:t2:aa1:y1:qe")
	for i := range 10_000 { // within one second, from everywhere
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{80, byte(i >> 8), byte(i), 1}), 1)
		g.receive(epoch.Add(time.Duration(i)*time.Second/10_000), query, from)
	}
	if sent == 0 || sent > 3000 {
		t.Errorf("%d bytes answer a flood", sent)
	}
	if g.counts.withheld == 0 || len(g.noise.sources) > noiseKeep {
		t.Errorf("withheld %d, watched %d", g.counts.withheld, len(g.noise.sources))
	}
}

func BenchmarkAnswer(b *testing.B) {
	g := newTestGuard(&fakeConn{})
	g.out = rate.NewLimiter(1, 1<<50)
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range maxKnown {
		g.host.heard(epoch, nodeInfo{newID(rnd, netip.Addr{}), netip.AddrPortFrom(netip.AddrFrom4([4]byte{50, 1, byte(i >> 8), byte(i)}), 1)}, netip.Addr{})
	}
	query := []byte("d1:ad2:id20:" + id20 + "9:info_hash20:" + hash + "e1:q9:get_peers1:t2:aa1:y1:qe")
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		g.receive(epoch, query, netip.AddrPortFrom(netip.AddrFrom4([4]byte{80, byte(i >> 16), byte(i >> 8), byte(i)}), 1))
	}
}

func BenchmarkReply(b *testing.B) {
	g := newTestGuard(&fakeConn{})
	var nodes []nodeInfo
	for i := range 8 {
		nodes = append(nodes, nodeInfo{nodeID{byte(i)}, netip.AddrPortFrom(netip.AddrFrom4([4]byte{50, 1, 1, byte(i)}), 1)})
	}
	m := message{kind: 'r', nodes: nodes, token: "12345678"}
	reply, err := m.forLibrary("tttt")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		g.pending[pendingKey{stranger, [4]byte([]byte("tttt"))}] = pendingQuery{"L", epoch}
		if g.receive(epoch, reply, stranger) == nil {
			b.Fatal("dropped")
		}
	}
}
