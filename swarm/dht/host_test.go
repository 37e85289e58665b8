package dht

import (
	"math"
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
	"torrentfs/net/udpmux"
)

var epoch = time.Unix(1_700_000_000, 0)

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

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
	if g.receive(now, reply(tid), ap("80.1.2.3:1"), udpAddr(ap("80.1.2.3:1"))) != nil || g.receive(now, reply("LLLL"), stranger, udpAddr(stranger)) != nil {
		t.Error("a reply nobody asked for came through")
	}
	got := g.receive(now, reply(tid), stranger, udpAddr(stranger))
	if d, _, err := bencode.DecodeDict(got, bencode.Limits{}); err != nil || d["t"] != "L" {
		t.Errorf("the library sees %q, %v", got, err)
	}
	if g.receive(now, reply(tid), stranger, udpAddr(stranger)) != nil {
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
		g.receive(epoch.Add(time.Duration(i)*time.Second/10_000), query, from, udpAddr(from))
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
	g.out = rate.NewLimiter(1, math.MaxInt)
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range maxKnown {
		g.host.heard(epoch, nodeInfo{newID(rnd, netip.Addr{}), netip.AddrPortFrom(netip.AddrFrom4([4]byte{50, 1, byte(i >> 8), byte(i)}), 1)}, netip.Addr{})
	}
	query := []byte("d1:ad2:id20:" + id20 + "9:info_hash20:" + hash + "e1:q9:get_peers1:t2:aa1:y1:qe")
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{80, byte(i >> 16), byte(i >> 8), byte(i)}), 1)
		g.receive(epoch, query, from, udpAddr(from))
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
		if g.receive(epoch, reply, stranger, udpAddr(stranger)) == nil {
			b.Fatal("dropped")
		}
	}
}

// A query is answered at the address in the socket's own form, which may say from
// which of ours; a reply never makes us send.
func TestAnswerGoesBackAsItCame(t *testing.T) {
	var to []net.Addr
	g := newTestGuard(&fakeConn{out: func(_ []byte, a net.Addr) { to = append(to, a) }})
	g.answers = true
	back := &udpmux.Addr{UDPAddr: *udpAddr(stranger), Ours: netip.MustParseAddr("198.51.100.7")}
	g.receive(time.Now(), []byte("d1:ad2:id20:"+id20+"e1:q4:ping1:t1:L1:y1:qe"), stranger, back)
	if len(to) != 1 || to[0] != net.Addr(back) {
		t.Errorf("answered to %v", to)
	}
}
