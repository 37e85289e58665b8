package tracker

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"
)

// packet builds a request; fields are appended in order, integers by their size.
func packet(fields ...any) []byte {
	var b bytes.Buffer
	for _, f := range fields {
		if err := binary.Write(&b, binary.BigEndian, f); err != nil {
			panic(err)
		}
	}
	return b.Bytes()
}

func announcePacket(conn uint64, hash [20]byte, left uint64, ev uint32, want int32, port uint16) []byte {
	return packet(conn, uint32(actionAnnounce), uint32(7), hash, [20]byte{1}, uint64(0), left, uint64(0),
		ev, uint32(0xcb007101), uint32(9), want, port)
}

// connect returns a connection id for an address.
func connect(t testing.TB, s *Server, from netip.AddrPort) uint64 {
	t.Helper()
	b := s.handlePacket(nil, packet(uint64(protocolID), uint32(actionConnect), uint32(5)), from, new(reply))
	if len(b) != 16 || binary.BigEndian.Uint32(b) != actionConnect || binary.BigEndian.Uint32(b[4:]) != 5 {
		t.Fatalf("connect answered by %x", b)
	}
	return binary.BigEndian.Uint64(b[8:])
}

func TestUDPAnnounce(t *testing.T) {
	s := New(Config{Interval: 30 * time.Minute})
	must(t, s, announcement{hash: hashOf(1), addr: addr("192.0.2.1:6881"), left: 0})
	must(t, s, announcement{hash: hashOf(1), addr: addr("[2001:db8::1]:6881"), left: 1})
	tests := []struct {
		name string
		from string
		want []byte
	}{
		{"IPv4", "198.51.100.1:9", packet(uint32(1), uint32(7), uint32(1800), uint32(2), uint32(1), [4]byte{192, 0, 2, 1}, uint16(6881))},
		{"mapped", "[::ffff:198.51.100.1]:9", packet(uint32(1), uint32(7), uint32(1800), uint32(2), uint32(1), [4]byte{192, 0, 2, 1}, uint16(6881))},
		{"IPv6", "[2001:db8::2]:9", packet(uint32(1), uint32(7), uint32(1800), uint32(2), uint32(1), netip.MustParseAddr("2001:db8::1").As16(), uint16(6881))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			from := addr(tt.from)
			conn := connect(t, s, from)
			got := s.handlePacket(nil, announcePacket(conn, hashOf(1), 5, 2, -1, 1), from, new(reply))
			if !bytes.Equal(got, tt.want) {
				t.Errorf("answer\n%x, want\n%x", got, tt.want)
			}
			// The address in the packet is not believed.
			if st := s.Stats(); st.Leechers != 2 {
				t.Errorf("%d leechers, want 2", st.Leechers)
			}
			s.handlePacket(nil, announcePacket(conn, hashOf(1), 5, 3, -1, 1), from, new(reply))
			if st := s.Stats(); st.Leechers != 1 {
				t.Errorf("%d leechers after stopped, want 1", st.Leechers)
			}
		})
	}
}

// TestUDPAnswerFits: an answer stays within one packet, however much is wanted.
func TestUDPAnswerFits(t *testing.T) {
	s := New(Config{maxNumWant: 10_000})
	for i := range 1000 {
		a := netip.AddrFrom16([16]byte{0x20, 1, 13: byte(i >> 8), 14: byte(i), 15: 1})
		must(t, s, announcement{hash: hashOf(1), addr: netip.AddrPortFrom(a, 1), left: 1, numWant: 0})
		a = netip.AddrFrom4([4]byte{8, 8, byte(i >> 8), byte(i)})
		must(t, s, announcement{hash: hashOf(1), addr: netip.AddrPortFrom(a, 1), left: 1, numWant: 0})
	}
	for _, from := range []string{"[2001:db8::1]:1", "192.0.2.1:1"} {
		b := s.handlePacket(nil, announcePacket(connect(t, s, addr(from)), hashOf(1), 1, 0, 1<<31-1, 1), addr(from), new(reply))
		if len(b) > maxReply || len(b) < maxReply-18 {
			t.Errorf("answer to %s has %d bytes", from, len(b))
		}
	}
}

func TestUDPScrape(t *testing.T) {
	s := New(Config{})
	must(t, s, announcement{hash: hashOf(1), addr: addr("192.0.2.1:6881"), left: 0})
	from := addr("198.51.100.1:9")
	conn := connect(t, s, from)
	got := s.handlePacket(nil, packet(conn, uint32(actionScrape), uint32(3), hashOf(2), hashOf(1)), from, new(reply))
	want := packet(uint32(actionScrape), uint32(3), [3]uint32{}, [3]uint32{1, 0, 0})
	if !bytes.Equal(got, want) {
		t.Errorf("scrape answered by %x, want %x", got, want)
	}
}

// TestUDPRefusals: with a connection id there is an error packet, without one
// there is silence.
func TestUDPRefusals(t *testing.T) {
	s := New(Config{Allow: [][20]byte{hashOf(1)}})
	from := addr("198.51.100.1:9")
	conn := connect(t, s, from)
	tests := []struct {
		name   string
		packet []byte
		want   string // "" is silence
	}{
		{"unknown action", packet(conn, uint32(9), uint32(7)), string(errQuery)},
		{"short announce", announcePacket(conn, hashOf(1), 1, 0, 1, 1)[:97], string(errQuery)},
		{"port 0", announcePacket(conn, hashOf(1), 1, 0, 1, 0), string(errPort)},
		{"other torrent", announcePacket(conn, hashOf(2), 1, 0, 1, 1), string(errNotAllowed)},
		{"scrape of nothing", packet(conn, uint32(actionScrape), uint32(7)), string(errScrape)},
		{"scrape of too much", packet(conn, uint32(actionScrape), uint32(7), make([]byte, 75*20)), string(errScrape)},
		{"forged id", announcePacket(conn+1, hashOf(1), 1, 0, 1, 1), ""},
		{"magic as id", announcePacket(protocolID, hashOf(1), 1, 0, 1, 1), ""},
		{"connect without magic", packet(uint64(1), uint32(actionConnect), uint32(7)), ""},
		{"short", packet(uint64(protocolID), uint32(actionConnect), uint16(0)), ""},
		{"empty", nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := s.handlePacket(nil, tt.packet, from, new(reply))
			var want []byte
			if tt.want != "" {
				want = packet(uint32(actionError), uint32(7), []byte(tt.want))
			}
			if !bytes.Equal(got, want) {
				t.Errorf("answered by %q, want %q", got, want)
			}
			if st := s.Stats(); st.Torrents != 0 {
				t.Errorf("%d torrents exist", st.Torrents)
			}
		})
	}
}

// TestConnectionIDs: bound to the address, good for at least two minutes and
// for no more than three.
func TestConnectionIDs(t *testing.T) {
	clk := newClock()
	s := New(Config{now: clk.Now})
	clk.advance(47 * time.Second)
	a := netip.MustParseAddr("192.0.2.1")
	id := connect(t, s, netip.AddrPortFrom(a, 1))
	issued := s.elapsed()
	for d := time.Duration(0); d <= 4*time.Minute; d += time.Second {
		ok := s.conns.valid(id, a, issued+d)
		if d <= 2*time.Minute && !ok || d >= 3*time.Minute && ok {
			t.Errorf("after %v: valid is %v", d, ok)
		}
	}
	if s.conns.valid(id, netip.MustParseAddr("192.0.2.2"), issued) {
		t.Error("valid for another address")
	}
	if New(Config{now: clk.Now}).conns.valid(id, a, issued) {
		t.Error("valid for another server")
	}
}

// FuzzPacket: for any packet, no client gets more than it sent without a valid connection id, no
// answer outgrows a packet, and its header is right.
func FuzzPacket(f *testing.F) {
	f.Add(packet(uint64(protocolID), uint32(actionConnect), uint32(5)), false)
	f.Add(announcePacket(0, hashOf(1), 1, 2, 50, 6881), true)
	f.Add(packet(uint64(0), uint32(actionScrape), uint32(7), hashOf(1), hashOf(2)), true)
	f.Add([]byte{}, true)
	s := New(Config{MaxTorrents: 100, MaxPeers: 100})
	for i := range byte(90) {
		must(f, s, announcement{hash: hashOf(1), addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, i}), 1), left: 1})
	}
	f.Fuzz(func(t *testing.T, p []byte, connected bool) {
		from := addr("198.51.100.1:9")
		p = bytes.Clone(p) // what is written here must not become an input
		if connected && len(p) >= 8 {
			binary.BigEndian.PutUint64(p, connect(t, s, from))
		}
		b := s.handlePacket(nil, p, from, new(reply))
		if len(b) == 0 {
			return
		}
		if !connected && len(b) > len(p) || len(b) > maxReply {
			t.Fatalf("%d bytes answered by %d", len(p), len(b))
		}
		if action := binary.BigEndian.Uint32(b); !bytes.Equal(b[4:8], p[12:16]) ||
			action != actionError && action != binary.BigEndian.Uint32(p[8:]) {
			t.Fatalf("%x answered by %x", p, b)
		}
	})
}
