package dht

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	library "github.com/anacrolix/dht/v2"
	"github.com/anacrolix/dht/v2/krpc"
	"github.com/anacrolix/torrent/bencode"
	"golang.org/x/time/rate"
)

const (
	id20  = "abcdefghij0123456789"
	hash  = "mnopqrstuvwxyz123456"
	node4 = id20 + "\x05\x06\x07\x08\x1a\xe1"
	node6 = id20 + "\x20\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x1a\xe1"
)

// messages are samples: those of BEP 5, 32, 42, 43 and 51, and those that are
// known to end a process in which the library reads them.
var messages = []struct {
	name, packet string
	ok           bool
}{
	{"ping", "d1:ad2:id20:" + id20 + "e1:q4:ping1:t2:aa1:y1:qe", true},
	{"ping, read-only", "d1:ad2:id20:" + id20 + "e1:q4:ping2:roi1e1:t2:aa1:y1:qe", true},
	{"find_node", "d1:ad2:id20:" + id20 + "6:target20:" + hash + "e1:q9:find_node1:t2:aa1:y1:qe", true},
	{"get_peers", "d1:ad2:id20:" + id20 + "9:info_hash20:" + hash + "4:wantl2:n42:n6ee1:q9:get_peers1:t2:aa1:y1:qe", true},
	{"announce_peer", "d1:ad2:id20:" + id20 + "12:implied_porti1e9:info_hash20:" + hash + "4:porti6881e5:token8:aoeusnthe1:q13:announce_peer1:t2:aa1:y1:qe", true},
	{"sample_infohashes", "d1:ad2:id20:" + id20 + "6:target20:" + hash + "e1:q17:sample_infohashes1:t2:aa1:y1:qe", true},
	{"pong", "d2:ip6:\x05\x06\x07\x08\x1a\xe11:rd2:id20:" + id20 + "e1:t2:aa1:y1:re", true},
	{"nodes", "d1:rd2:id20:" + id20 + "5:nodes26:" + node4 + "6:nodes638:" + node6 + "5:token8:aoeusnthe1:t2:aa1:y1:re", true},
	{"mixed values", "d1:rd2:id20:" + id20 + "5:token8:aoeusnth6:valuesl6:\x05\x06\x07\x08\x1a\xe118:" + node6[20:] + "ee1:t2:aa1:y1:re", true},
	{"error", "d1:eli201e23:A Generic Error Ocurrede1:t2:aa1:y1:ee", true},
	{"error as text", "d1:e5:wrong1:t2:aa1:y1:ee", true},

	{"killer: short value", "d1:rd2:id20:" + id20 + "6:valuesl1:xee1:t2:aa1:y1:re", true}, // harmless without the value
	{"killer: empty ip", "d2:ip0:1:rd2:id20:" + id20 + "e1:t2:aa1:y1:re", true},
	{"killer: ip of a byte", "d2:ip1:x1:rd2:id20:" + id20 + "e1:t2:aa1:y1:re", true},
	{"killer: announce without arguments", "d1:q13:announce_peer1:t2:aa1:y1:qe", false},
	{"killer: put without arguments", "d1:q3:put1:t2:aa1:y1:qe", false},
	{"killer: reply in a query", "d1:ad2:id20:" + id20 + "e1:q4:ping1:rd6:valuesl1:xee1:t2:aa1:y1:qe", true},
	{"killer: error of one element", "d1:eli201ee1:t2:aa1:y1:ee", true},

	{"short id", "d1:ad2:id19:" + id20[:19] + "e1:q4:ping1:t2:aa1:y1:qe", false},
	{"short target", "d1:ad2:id20:" + id20 + "6:target2:xxe1:q9:find_node1:t2:aa1:y1:qe", false},
	{"nodes of 25 bytes", "d1:rd2:id20:" + id20 + "5:nodes25:" + node4[:25] + "e1:t2:aa1:y1:re", false},
	{"no transaction id", "d1:ad2:id20:" + id20 + "e1:q4:ping1:y1:qe", false},
	{"long transaction id", "d1:ad2:id20:" + id20 + "e1:q4:ping1:t33:" + strings.Repeat("x", 33) + "1:y1:qe", false},
	{"trailing bytes", "d1:ad2:id20:" + id20 + "e1:q4:ping1:t2:aa1:y1:qe0", false},
	{"unknown kind", "d1:t2:aa1:y1:xe", false},
	{"long string", "d1:t999999999999:", false},
	{"deep", strings.Repeat("l", 100000), false},
	{"empty", "", false},
}

func TestParseMessage(t *testing.T) {
	for _, tt := range messages {
		_, err := parseMessage([]byte(tt.packet))
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
		if err != nil && !errors.Is(err, errMessage) {
			t.Errorf("%s: error %v is not errMessage", tt.name, err)
		}
	}
}

func TestParseReplyFields(t *testing.T) {
	m, err := parseMessage([]byte(messages[8].packet))
	if err != nil {
		t.Fatal(err)
	}
	want := []netip.AddrPort{netip.MustParseAddrPort("5.6.7.8:6881"), netip.MustParseAddrPort("[2001::1]:6881")}
	if len(m.values) != 2 || m.values[0] != want[0] || m.values[1] != want[1] || m.token != "aoeusnth" {
		t.Errorf("parsed %+v", m)
	}
	m, err = parseMessage([]byte(messages[7].packet))
	if err != nil {
		t.Fatal(err)
	}
	if len(m.nodes) != 1 || len(m.nodes6) != 1 || m.nodes[0].addr != want[0] || m.nodes6[0].addr != want[1] || string(m.nodes[0].id[:]) != id20 {
		t.Errorf("parsed %+v", m)
	}
}

// fakeConn is a socket that a test writes datagrams to.
type fakeConn struct {
	in   chan []byte
	wake chan struct{}
	from *net.UDPAddr
	out  func([]byte, net.Addr)
	net.PacketConn
}

func (c *fakeConn) ReadFrom(p []byte) (int, net.Addr, error) {
	select {
	case b := <-c.in:
		return copy(p, b), c.from, nil
	case <-c.wake:
		return 0, nil, os.ErrDeadlineExceeded
	}
}

func (c *fakeConn) WriteTo(b []byte, to net.Addr) (int, error) {
	if c.out != nil {
		c.out(b, to)
	}
	return len(b), nil
}

func (c *fakeConn) LocalAddr() net.Addr { return &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

func (c *fakeConn) SetReadDeadline(t time.Time) error {
	if !t.IsZero() {
		close(c.wake)
	}
	return nil
}

func newTestGuard(conn net.PacketConn) *guard {
	return &guard{
		conn: conn, id: nodeID{9}, host: newHost(false, rand.New(rand.NewPCG(1, 2))), answers: true,
		out: rate.NewLimiter(8000, 16000), client: "tf", ignore: func(netip.Addr) bool { return false },
		foreign: func([]nodeInfo) {}, names: newNames(), hint: func(netip.AddrPort) {}, stopping: make(chan struct{}), drained: make(chan struct{}),
		closed: make(chan struct{}), pending: make(map[pendingKey]pendingQuery),
	}
}

// What the guard lets through, the library decodes to sound values.
func checkLibrarySees(t *testing.T, b []byte) {
	t.Helper()
	var m krpc.Msg
	if err := bencode.Unmarshal(b, &m); err != nil {
		t.Fatalf("library cannot read %q: %v", b, err)
	}
	if m.Y == "q" && (m.A == nil || m.Q != "ping") || m.Y == "r" && m.R == nil || m.Y == "e" && m.E == nil || m.IP.IP != nil {
		t.Fatalf("library sees %+v", m)
	}
	if m.R == nil {
		return
	}
	for _, v := range m.R.Values {
		if len(v.IP) != 4 && len(v.IP) != 16 || v.Port == 0 {
			t.Fatalf("library sees peer %v", v)
		}
	}
	for _, n := range m.R.Nodes {
		if len(n.Addr.IP) != 4 || n.Addr.Port == 0 {
			t.Fatalf("library sees node %v", n)
		}
	}
}

var stranger = netip.MustParseAddrPort("80.1.2.3:6881")

func FuzzGuard(f *testing.F) {
	for _, tt := range messages {
		f.Add([]byte(tt.packet))
	}
	now := time.Unix(1e9, 0)
	f.Fuzz(func(t *testing.T, b []byte) {
		g := newTestGuard(&fakeConn{})
		// The sender is a node that we asked, with any transaction id.
		tid := "aa"
		if m, err := parseMessage(b); err == nil {
			tid = m.tid
		}
		if len(tid) == 4 {
			g.pending[pendingKey{stranger, [4]byte([]byte(tid))}] = pendingQuery{"ours", now}
		}
		if out := g.receive(now, b, stranger, udpAddr(stranger)); out != nil {
			checkLibrarySees(t, out)
		}
		if m, err := parseMessage(b); err == nil {
			g.screen(&m, stranger)
			again, err := m.forLibrary(m.tid)
			if err != nil {
				t.Fatal(err)
			}
			checkLibrarySees(t, again)
		}
	})
}

func FuzzState(f *testing.F) {
	b, _ := encodeState(saved{id: nodeID{1}, nodes: []nodeInfo{{nodeID{2}, stranger}}}, saved{})
	f.Add(b)
	f.Add([]byte("de"))
	f.Fuzz(func(t *testing.T, b []byte) {
		v4, v6, err := decodeState(b)
		if err != nil {
			return
		}
		again, err := encodeState(v4, v6)
		if err != nil {
			t.Fatal(err)
		}
		if w4, w6, err := decodeState(again); err != nil || w4.id != v4.id || len(w6.nodes) != len(v6.nodes) {
			t.Fatalf("%v after another round: %v", w4, err)
		}
	})
}

// TestLibraryBehindGuard floods a whole server, guard and library, with
// mutated packets: as queries, and as replies to queries that it made.
func TestLibraryBehindGuard(t *testing.T) {
	packets := 10_000
	if testing.Short() {
		packets = 2000
	}
	sent := make(chan []byte, 1000)
	conn := &fakeConn{in: make(chan []byte), wake: make(chan struct{}), from: udpAddr(stranger), out: func(b []byte, _ net.Addr) {
		select {
		case sent <- bytes.Clone(b):
		default:
		}
	}}
	n := newNode(new(Config{Bootstrap: []string{}, queryRate: 1e6}.withDefaults()), conn, false, saved{}, rand.New(rand.NewPCG(1, 2)))
	s, err := n.start()
	if err != nil {
		t.Fatal(err)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range packets / 10 { // a query, and then replies to it
			go s.Query(t.Context(), library.NewAddr(udpAddr(stranger)), "get_peers", library.QueryInput{MsgArgs: krpc.MsgArgs{InfoHash: nodeID{byte(i)}}})
			tid := "aaaa"
			select {
			case b := <-sent:
				if at := bytes.Index(b, []byte("1:t4:")); at >= 0 {
					tid = string(b[at+5 : at+9])
				}
			case <-time.After(time.Second):
			}
			for range 10 {
				b := []byte(strings.Replace(messages[rnd.IntN(len(messages))].packet, "1:t2:aa", "1:t4:"+tid, 1))
				for range rnd.IntN(4) {
					if len(b) > 0 {
						mutate(rnd, b)
					}
				}
				conn.in <- b
			}
		}
	}()
	<-done
	n.stop(s)
	if got := n.stats(); got.Received == 0 || got.Malformed == 0 || got.Unasked == 0 {
		t.Errorf("the test missed its target: %+v", got)
	}
}

func mutate(rnd *rand.Rand, b []byte) {
	i := rnd.IntN(len(b))
	switch rnd.IntN(3) {
	case 0:
		b[i] = byte(rnd.Uint32())
	case 1:
		b[i] = "deil0123456789:"[rnd.IntN(15)]
	default:
		j := rnd.IntN(len(b))
		b[i], b[j] = b[j], b[i]
	}
}
