package announce

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"torrentfs/net/egress"
	"torrentfs/net/guard"
)

// relay is a proxy's UDP port: a fake one that is granted at a time.
type relay struct {
	*fakePacketConn
	granted chan struct{}
	to      []string
}

func (r *relay) WriteTo(p []byte, to net.Addr) (int, error) {
	r.to = append(r.to, to.String())
	return r.fakePacketConn.WriteTo(p, to)
}

func (r *relay) Ready(ctx context.Context) error {
	select {
	case <-r.granted:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// behindProxy is a client whose proxy relays datagrams, and resolves names.
func behindProxy(t *testing.T, u *udpTracker) (*Client, *relay) {
	t.Helper()
	proxy, err := egress.ParseProxy("socks5://192.0.2.1:1080")
	if err != nil {
		t.Fatal(err)
	}
	network, err := egress.Open(egress.Config{Proxy: proxy})
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{fakePacketConn: newFakePacketConn(u.answer), granted: make(chan struct{})}
	c := NewClient(ClientConfig{Network: network, listenPacket: func(_ context.Context, network string) (net.PacketConn, error) {
		if network != "udp" {
			t.Errorf("opened a port for %s", network)
		}
		return r, nil
	}})
	t.Cleanup(func() { c.Close() })
	return c, r
}

// Behind a proxy a tracker's name is the proxy's to look up; what comes back from
// one of its addresses is answered at that one. A proxy that repeats the name in
// its answers is understood, too.
func TestUDPByName(t *testing.T) {
	four, six := netip.MustParseAddrPort("1.2.3.4:80"), netip.MustParseAddrPort("[2001:db8::4]:80")
	name := egress.NameAddr{Host: "tracker.example", Port: 80}
	for _, tt := range []struct {
		from net.Addr
		body []byte
		want []string // that were sent to
		peer string
	}{
		{net.UDPAddrFromAddrPort(four), onePeer(four), []string{"tracker.example:80", "1.2.3.4:80"}, ""},
		{net.UDPAddrFromAddrPort(six), udpBody(1800, 0, 1, append(slices.Repeat([]byte{0x20}, 16), 0x1a, 0xe1)...), []string{"tracker.example:80", "[2001:db8::4]:80"}, "[2020:2020:2020:2020:2020:2020:2020:2020]:6881"},
		{name, onePeer(four), []string{"tracker.example:80", "tracker.example:80"}, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			u := &udpTracker{body: func(netip.AddrPort) []byte { return tt.body }}
			inner := u.answer
			c, r := behindProxy(t, u)
			r.answer = func(p []byte, to netip.AddrPort) []datagram {
				out := inner(p, to)
				for i := range out {
					out[i].by = tt.from
				}
				return out
			}
			began := time.Now()
			time.AfterFunc(10*time.Second, func() { close(r.granted) })
			resp, err := c.Announce(t.Context(), "udp://tracker.example:80", Request{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if time.Since(began) != 10*time.Second {
				t.Errorf("took %v: sent before it was granted, or late", time.Since(began))
			}
			if !slices.Equal(r.to, tt.want) {
				t.Errorf("sent to %v, not %v", r.to, tt.want)
			}
			if len(resp.Peers) != 1 || tt.peer != "" && resp.Peers[0].String() != tt.peer {
				t.Errorf("peers %v", resp.Peers)
			}
		})
	}
}

// A name that leads into a network is not asked for, nor is an address there; an address is asked
// as it is, and no other reply is taken.
func TestUDPHostsBehindProxy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &udpTracker{body: onePeer}
		c, r := behindProxy(t, u)
		close(r.granted)
		for _, host := range []string{"tracker", "tracker.lan", "127.1", "0.0.0.0", "224.0.0.1", "10.0.0.1", "127.0.0.1", "169.254.169.254", "[::1]", "[::ffff:127.0.0.1]", "localhost", "0x7f000001", "127.0.0.1."} {
			if _, err := c.Announce(t.Context(), "udp://"+host+":80", Request{}, nil); !errors.Is(err, guard.ErrForbidden) {
				t.Errorf("%s: %v", host, err)
			}
		}
		if len(r.to) > 0 {
			t.Errorf("sent to %v", r.to)
		}
		if _, err := c.Announce(t.Context(), "udp://8.8.8.8:80", Request{}, nil); err != nil {
			t.Error(err)
		}
		stranger := endpoint{addr: netip.MustParseAddrPort("9.9.9.9:80")}
		at := endpoint{addr: netip.MustParseAddrPort("8.8.8.8:80")}
		byName := endpoint{name: egress.NameAddr{Host: "a.example", Port: 80}}
		if at.mayAnswer(stranger) || at.mayAnswer(byName) || !byName.mayAnswer(stranger) || byName.mayAnswer(endpoint{name: egress.NameAddr{Host: "b.example", Port: 80}}) {
			t.Error("somebody else may answer")
		}
	})
}

// A proxy that grants nothing counts as a tracker that does not answer.
func TestUDPNeverGranted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := behindProxy(t, &udpTracker{body: onePeer})
		if _, err := c.Announce(t.Context(), "udp://tracker.example:80", Request{}, nil); !errors.Is(err, ErrTimeout) {
			t.Error(err)
		}
	})
}
