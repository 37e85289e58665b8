package announce

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// udpTracker is a scripted UDP tracker. Its hook, if any, sees each packet first and answers in its
// place unless it returns false.
type udpTracker struct {
	hook func(n int, p []byte, to netip.AddrPort) ([]datagram, bool)
	body func(to netip.AddrPort) []byte // of announce replies

	mu    sync.Mutex
	sent  [][]byte
	times []time.Time
	conns uint64 // connection ids handed out
}

func (u *udpTracker) answer(p []byte, to netip.AddrPort) []datagram {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.sent = append(u.sent, p)
	u.times = append(u.times, time.Now())
	if u.hook != nil {
		if d, ok := u.hook(len(u.sent), p, to); ok {
			return d
		}
	}
	action, tid := binary.BigEndian.Uint32(p[8:]), binary.BigEndian.Uint32(p[12:])
	b := binary.BigEndian.AppendUint32(nil, action)
	b = binary.BigEndian.AppendUint32(b, tid)
	if action == actionConnect {
		u.conns++
		b = binary.BigEndian.AppendUint64(b, 1000+u.conns)
	} else {
		b = append(b, u.body(to)...)
	}
	return []datagram{{b: b, from: to}}
}

func (u *udpTracker) client(h hosts) *Client {
	return NewClient(ClientConfig{
		lookup: h.lookup,
		listenPacket: func(context.Context, string) (net.PacketConn, error) {
			return newFakePacketConn(u.answer), nil
		},
	})
}

// actions lists what was asked for.
func (u *udpTracker) actions() (out []uint32) {
	for _, p := range u.sent {
		out = append(out, binary.BigEndian.Uint32(p[8:]))
	}
	return out
}

// udpBody is an announce reply's body: interval, leechers, seeders, peers.
func udpBody(interval, leechers, seeders uint32, peers ...byte) []byte {
	var b []byte
	for _, v := range []uint32{interval, leechers, seeders} {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return append(b, peers...)
}

func onePeer(netip.AddrPort) []byte { return udpBody(900, 3, 4, 1, 2, 3, 4, 0x1a, 0xe1) }

func TestUDPAnnounceBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &udpTracker{body: onePeer}
		c := u.client(hosts{"tracker.example": {"8.8.8.8"}})
		defer c.Close()
		r := Request{
			InfoHash: [20]byte([]byte("aaaaaaaaaaaaaaaaaaaa")), PeerID: [20]byte([]byte("bbbbbbbbbbbbbbbbbbbb")),
			Port: 6881, Key: 0x01020304, Stats: Stats{Uploaded: 1, Downloaded: 2, Left: -3}, Event: EventStarted, NumWant: -7,
		}
		got, err := c.Announce(t.Context(), "udp://tracker.example:80/dir?a=b&c=d", r, nil)
		if err != nil {
			t.Fatal(err)
		}
		want := Response{Interval: 15 * time.Minute, Seeders: 4, Leechers: 3, Peers: addrs("1.2.3.4:6881")}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("answer %+v, want %+v", got, want)
		}
		if n := len(u.sent[0]); n != 16 || !bytes.HasPrefix(u.sent[0], []byte("\x00\x00\x04\x17\x27\x10\x19\x80\x00\x00\x00\x00")) {
			t.Errorf("connect request %x", u.sent[0])
		}
		p := u.sent[1]
		tid := string(p[12:16])
		packet := "\x00\x00\x00\x00\x00\x00\x03\xe9\x00\x00\x00\x01" + tid +
			"aaaaaaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbbbbb" +
			"\x00\x00\x00\x00\x00\x00\x00\x02" + "\x00\x00\x00\x00\x00\x00\x00\x00" + "\x00\x00\x00\x00\x00\x00\x00\x01" +
			"\x00\x00\x00\x02" + "\x00\x00\x00\x00" + "\x01\x02\x03\x04" + "\xff\xff\xff\xff" + "\x1a\xe1" +
			"\x02\x0c/dir?a=b&c=d"
		if string(p) != packet {
			t.Errorf("announce request\n%x, want\n%x", p, packet)
		}
	})
}

func TestURLDataIsSplit(t *testing.T) {
	for _, n := range []int{0, 1, 254, 255, 256, 510, 511, maxURLData, maxURLData + 9} {
		s := strings.Repeat("x", n)
		b := appendURLData(nil, s)
		var got strings.Builder
		for len(b) > 0 {
			if b[0] != optionURLData || b[1] == 0 || len(b) < 2+int(b[1]) {
				t.Fatalf("%d bytes: bad option %x", n, b[:2])
			}
			got.Write(b[2 : 2+int(b[1])])
			b = b[2+int(b[1]):]
		}
		if got.String() != s[:min(n, maxURLData)] {
			t.Errorf("%d bytes come back as %d", n, got.Len())
		}
	}
}

// TestUDPConnectionID: kept for a minute, renewed after it, renewed when the
// tracker refuses it, and only once.
func TestUDPConnectionID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &udpTracker{body: onePeer}
		c := u.client(hosts{"tracker.example": {"8.8.8.8"}})
		defer c.Close()
		announce := func(want ...uint32) {
			t.Helper()
			u.sent = nil
			_, err := c.Announce(t.Context(), "udp://tracker.example:80", Request{}, nil)
			if got := u.actions(); err != nil || !slices.Equal(got, want) {
				t.Errorf("actions %v, want %v (%v)", got, want, err)
			}
		}
		announce(actionConnect, actionAnnounce)
		time.Sleep(59 * time.Second)
		announce(actionAnnounce)
		time.Sleep(time.Second)
		announce(actionConnect, actionAnnounce)
		refuse := func(n int, p []byte, to netip.AddrPort) ([]datagram, bool) {
			b := binary.BigEndian.AppendUint32(nil, actionError)
			return []datagram{{b: append(append(b, p[12:16]...), "bad \x1bid"...), from: to}}, true
		}
		u.hook = func(n int, p []byte, to netip.AddrPort) ([]datagram, bool) {
			if n > 1 {
				return nil, false
			}
			return refuse(n, p, to)
		}
		announce(actionAnnounce, actionConnect, actionAnnounce)
		u.hook = func(n int, p []byte, to netip.AddrPort) ([]datagram, bool) {
			if binary.BigEndian.Uint32(p[8:]) == actionConnect {
				return nil, false
			}
			return refuse(n, p, to)
		}
		u.sent = nil
		_, err := c.Announce(t.Context(), "udp://tracker.example:80", Request{}, nil)
		f, ok := errors.AsType[*FailureError](err)
		if !ok || f.Reason != `bad \x1bid` || len(u.sent) != 3 {
			t.Errorf("refused for good: %v after %v", err, u.actions())
		}
	})
}

// TestUDPRetransmission: after 15, 30 and 60 s, for a loss of either packet.
func TestUDPRetransmission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		u := &udpTracker{hook: func(int, []byte, netip.AddrPort) ([]datagram, bool) { return nil, true }}
		c := u.client(hosts{"tracker.example": {"8.8.8.8"}})
		defer c.Close()
		_, err := c.Announce(t.Context(), "udp://tracker.example:80", Request{}, nil)
		if !errors.Is(err, ErrTimeout) || time.Since(start) != 105*time.Second {
			t.Errorf("silence: %v after %v", err, time.Since(start))
		}
		var at []time.Duration
		for _, when := range u.times {
			at = append(at, when.Sub(start))
		}
		if want := []time.Duration{0, 15 * time.Second, 45 * time.Second}; !slices.Equal(at, want) {
			t.Errorf("sent at %v, want %v", at, want)
		}
		// The first announce packet is lost: the id is 15 s old when it is used again.
		u.body, u.sent = onePeer, nil
		u.hook = func(n int, _ []byte, _ netip.AddrPort) ([]datagram, bool) { return nil, n == 2 }
		_, err = c.Announce(t.Context(), "udp://tracker.example:80", Request{}, nil)
		if want := []uint32{actionConnect, actionAnnounce, actionAnnounce}; err != nil || !slices.Equal(u.actions(), want) {
			t.Errorf("one loss: %v, actions %v", err, u.actions())
		}
	})
}

// TestUDPForeignReplies: a reply counts only from the tracker's own address and
// with the transaction's id.
func TestUDPForeignReplies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &udpTracker{body: onePeer}
		u.hook = func(n int, p []byte, to netip.AddrPort) ([]datagram, bool) {
			if binary.BigEndian.Uint32(p[8:]) != actionAnnounce {
				return nil, false
			}
			reply := func(tid []byte, peer byte) []byte {
				b := binary.BigEndian.AppendUint32(nil, actionAnnounce)
				return append(append(b, tid...), udpBody(900, 1, 1, peer, peer, peer, peer, 0, 80)...)
			}
			other := append([]byte(nil), p[12:16]...)
			other[3]++
			return []datagram{
				{b: reply(p[12:16], 66), from: netip.AddrPortFrom(to.Addr(), to.Port()+1)},
				{b: reply(p[12:16], 66), from: netip.AddrPortFrom(to.Addr().Next(), to.Port())},
				{b: reply(other, 66), from: to},
				{b: p[12:15], from: to},
				{b: reply(p[12:16], 9), from: to, after: time.Second},
				{b: reply(p[12:16], 66), from: to, after: 2 * time.Second},
			}, true
		}
		c := u.client(hosts{"tracker.example": {"8.8.8.8"}})
		defer c.Close()
		for range 2 { // the straggler of the first must not disturb the second
			r, err := c.Announce(t.Context(), "udp://tracker.example:80", Request{}, nil)
			if want := addrs("9.9.9.9:80"); err != nil || !slices.Equal(r.Peers, want) {
				t.Errorf("peers %v (%v), want %v", r.Peers, err, want)
			}
		}
		time.Sleep(5 * time.Second)
	})
}

// TestUDPBothFamilies: both are announced to, each with peers of its own size,
// and a dead one costs its grace and nothing else.
func TestUDPBothFamilies(t *testing.T) {
	both := hosts{"tracker.example": {"2001:4860::1", "8.8.8.8", "8.8.4.4"}}
	body := func(to netip.AddrPort) []byte {
		if to.Addr().Is4() {
			return udpBody(900, 3, 4, 1, 2, 3, 4, 0, 80)
		}
		ip := netip.MustParseAddr("2001:4860::9").As16()
		return append(udpBody(1200, 5, 2, ip[:]...), 0, 81)
	}
	for _, dead := range []string{"", "v6"} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			u := &udpTracker{body: body}
			u.hook = func(_ int, _ []byte, to netip.AddrPort) ([]datagram, bool) {
				return nil, dead == "v6" && to.Addr().Is6()
			}
			c := u.client(both)
			defer c.Close()
			var early time.Duration
			r, err := c.Announce(t.Context(), "udp://tracker.example:80", Request{}, func(Response) { early = time.Since(start) })
			if err != nil {
				t.Fatal(err)
			}
			slices.SortFunc(r.Peers, netip.AddrPort.Compare)
			want, took := addrs("1.2.3.4:80", "[2001:4860::9]:81"), time.Duration(0)
			if dead != "" {
				want, took = want[:1], familyGrace
			} else if r.Interval != 20*time.Minute || r.Seeders != 4 || r.Leechers != 5 {
				t.Errorf("sum %+v", r)
			}
			if !slices.Equal(r.Peers, want) || time.Since(start) != took || early != 0 {
				t.Errorf("dead %q: peers %v after %v, found after %v", dead, r.Peers, time.Since(start), early)
			}
		})
	}
}

func TestUDPScrape(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &udpTracker{body: func(netip.AddrPort) []byte { return udpBody(1, 2, 3, udpBody(4, 5, 1<<31)...) }}
		c := u.client(hosts{"tracker.example": {"8.8.8.8"}})
		defer c.Close()
		got, err := c.Scrape(t.Context(), "udp://tracker.example:80", [20]byte{1}, [20]byte{2})
		want := []ScrapeResult{{1, 3, 2}, {4, 1<<31 - 1, 5}}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("scrape %v (%v), want %v", got, err, want)
		}
		if _, err := c.Scrape(t.Context(), "udp://tracker.example:80", make([][20]byte, 3)...); !errors.Is(err, ErrResponse) {
			t.Errorf("answer for two to a question for three: %v", err)
		}
		if _, err := c.Scrape(t.Context(), "udp://tracker.example:80", make([][20]byte, 75)...); err == nil {
			t.Error("75 info-hashes are accepted")
		}
	})
}

// TestUDPSocketFails: those who wait hear of it, and the next request opens
// another socket.
func TestUDPSocketFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &udpTracker{body: onePeer}
		conns := []*fakePacketConn{newFakePacketConn(u.answer), newFakePacketConn(u.answer)}
		opened := 0
		c := NewClient(ClientConfig{listenPacket: func(context.Context, string) (net.PacketConn, error) {
			opened++
			return conns[opened-1], nil
		}})
		u.hook = func(n int, _ []byte, _ netip.AddrPort) ([]datagram, bool) { return nil, n == 1 }
		time.AfterFunc(time.Second, func() { conns[0].Close() })
		if _, err := c.Announce(t.Context(), "udp://8.8.8.8:80", Request{}, nil); !errors.Is(err, ErrClosed) {
			t.Errorf("announce on a socket that fails: %v", err)
		}
		synctest.Wait()
		if _, err := c.Announce(t.Context(), "udp://8.8.8.8:80", Request{}, nil); err != nil {
			t.Errorf("announce after it: %v", err)
		}
		c.Close()
		if _, err := c.Announce(t.Context(), "udp://8.8.8.8:80", Request{}, nil); !errors.Is(err, ErrClosed) {
			t.Errorf("announce after Close: %v", err)
		}
	})
}

// TestUDPWireSamples replays recorded replies: a control byte (2 bits of action, 4 = from a wrong
// address, 8 = transaction id from the payload), a length, a payload. With any of them, the request
// ends.
func TestUDPWireSamples(t *testing.T) {
	for name, data := range corpus(t, "wire/udp_tracker") {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rest := data
				u := &udpTracker{}
				u.hook = func(_ int, p []byte, to netip.AddrPort) ([]datagram, bool) {
					if len(rest) < 3 {
						return nil, true
					}
					control := rest[0]
					n := min(int(binary.BigEndian.Uint16(rest[1:])), len(rest)-3)
					payload := rest[3 : 3+n]
					rest = rest[3+n:]
					b := binary.BigEndian.AppendUint32(nil, uint32(control&3))
					if control&8 == 0 {
						b = append(b, p[12:16]...)
					}
					if control&4 != 0 {
						to = netip.AddrPortFrom(to.Addr().Next(), to.Port())
					}
					return []datagram{{b: append(b, payload...), from: to}}, true
				}
				c := u.client(nil)
				defer c.Close()
				r, err := c.Announce(t.Context(), "udp://8.8.8.8:80", Request{}, nil)
				got := fmt.Sprint(len(r.Peers), " peers")
				switch {
				case errors.Is(err, ErrTimeout):
					got = "timeout"
				case errors.Is(err, ErrResponse):
					got = "malformed"
				case isFailure(err):
					got = "refused"
				}
				want, known := map[string]string{
					"announce_alone.bin":                    "malformed", // to a connect request
					"announce_too_short_0.bin":              "malformed",
					"announce_too_short_11.bin":             "malformed",
					"connect_ok.bin":                        "timeout",
					"connect_tid_and_src_mismatch.bin":      "timeout",
					"error_large_payload.bin":               "refused",
					"scrape_alone.bin":                      "malformed",
					"seq_connect_then_announce_1_peer.bin":  "1 peers",
					"seq_connect_then_announce_2_peers.bin": "2 peers",
					"seq_connect_then_error.bin":            "refused",
					"seq_mixed_actions.bin":                 "malformed",
				}[name]
				if known && got != want {
					t.Errorf("outcome %q (%v), want %q", got, err, want)
				}
			})
		})
	}
}

// FuzzUDPAnnounce: decoding yields usable peers, no more than the bytes hold.
func FuzzUDPAnnounce(f *testing.F) {
	f.Add(append(make([]byte, 8), onePeer(netip.AddrPort{})...), false)
	f.Add(append(make([]byte, 8), udpBody(1<<32-1, 1<<32-1, 1<<32-1, make([]byte, 40)...)...), true)
	f.Fuzz(func(t *testing.T, b []byte, ipv6 bool) {
		for action := range uint32(4) {
			body, err := openReply(b, action)
			if err != nil {
				continue
			}
			if _, err := decodeConnect(body); err == nil && len(body) < 8 {
				t.Fatal("short connect reply accepted")
			}
			if res, err := decodeUDPScrape(body, 3); err == nil && len(res) != 3 {
				t.Fatal("scrape of another length")
			}
			r, err := decodeUDPAnnounce(body, ipv6)
			if err != nil {
				continue
			}
			checkResponse(t, r, len(body)/6)
		}
	})
}

// checkResponse checks what holds for any decoded answer.
func checkResponse(t *testing.T, r Response, most int) {
	t.Helper()
	if len(r.Peers) > min(most, maxPeers) {
		t.Fatalf("%d peers out of room for %d", len(r.Peers), most)
	}
	for _, p := range r.Peers {
		if p.Port() == 0 || !p.IsValid() || p.Addr().IsUnspecified() || p.Addr().IsMulticast() || p.Addr().Is4In6() {
			t.Fatalf("unusable peer %v", p)
		}
	}
	if r.Interval < 0 || r.MinInterval < 0 || r.Interval > maxRetry || r.Seeders < -1 || r.Leechers < -1 {
		t.Fatalf("numbers out of range: %+v", r)
	}
	if len(r.Warning) > 3*maxText || strings.ContainsAny(r.Warning, "\x00\x1b\n\r") {
		t.Fatalf("warning %q", r.Warning)
	}
}
