package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"torrentfs/internal/fakeproxy"
)

// udpLoopback makes the sockets of an association on this machine.
func udpLoopback(inner, outer string) func() (in, out net.PacketConn, err error) {
	return func() (in, out net.PacketConn, err error) {
		if in, err = net.ListenPacket("udp", inner); err != nil {
			return nil, nil, err
		}
		if out, err = net.ListenPacket("udp", outer); err != nil {
			in.Close()
			return nil, nil, err
		}
		return in, out, nil
	}
}

// echo answers datagrams with what they say, from addr.
func echo(t *testing.T, addr string) netip.AddrPort {
	t.Helper()
	pc, err := net.ListenPacket("udp", addr)
	if err != nil {
		t.Skipf("no such address here: %v", err)
	}
	t.Cleanup(func() { pc.Close() })
	go func() {
		b := make([]byte, 2000)
		for {
			n, from, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = pc.WriteTo(b[:n], from)
		}
	}()
	return pc.LocalAddr().(*net.UDPAddr).AddrPort()
}

func openRelay(t *testing.T, w *Network, opened func()) *Relay {
	t.Helper()
	r, err := w.OpenRelay(opened)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func await(t *testing.T, r *Relay) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := r.Ready(ctx); err != nil {
		t.Fatal(err)
	}
}

// Datagrams go to addresses of either family and to names, which the proxy looks
// up, and what comes back says from where.
func TestRelay(t *testing.T) {
	for _, tt := range []struct {
		name, auth, inner string
		bound             netip.Addr // that the proxy says
	}{
		{"plain", "", "127.0.0.1:0", netip.Addr{}},
		{"with a password", "user:se%3Acret@", "127.0.0.1:0", netip.Addr{}},
		{"0.0.0.0 is the proxy", "", "127.0.0.1:0", netip.IPv4Unspecified()},
		{":: is the proxy", "", "127.0.0.1:0", netip.IPv6Unspecified()},
		{"relay at another address", "", "127.0.0.2:0", netip.Addr{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			four, six := echo(t, "127.0.0.1:0"), echo(t, "[::1]:0")
			cfg := fakeproxy.Config{
				UDP: udpLoopback(tt.inner, ":0"), Bound: tt.bound,
				Resolve: func(name string) netip.Addr {
					if name == "echo.example" {
						return four.Addr()
					}
					return netip.Addr{}
				},
			}
			if tt.auth != "" {
				cfg.User, cfg.Password = "user", "se:cret"
			}
			p := startProxy(t, cfg)
			w, log := openVia(t, "socks5://"+tt.auth+p.Addr())
			if err := w.Check(t.Context()); err != nil || w.NoRelay() != nil {
				t.Fatal(err, w.NoRelay())
			}
			refusedBeside(t, w)
			r := openRelay(t, w, nil)
			await(t, r)
			for i, to := range []net.Addr{
				net.UDPAddrFromAddrPort(four), net.UDPAddrFromAddrPort(six),
				NameAddr{"echo.example", four.Port()},
				net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.AddrFrom16(four.Addr().As16()), four.Port())), // by way of IPv6
			} {
				said := strings.Repeat("x", 1400) + fmt.Sprint(i)
				if n, err := r.WriteTo([]byte(said), to); err != nil || n != len(said) {
					t.Fatal(n, err)
				}
				want := four
				if i == 1 {
					want = six
				}
				b := make([]byte, 2000)
				_ = r.SetReadDeadline(time.Now().Add(20 * time.Second))
				n, from, err := r.ReadFrom(b)
				if err != nil || string(b[:n]) != said || from.String() != want.String() {
					t.Errorf("to %v: %d bytes from %v, %v", to, n, from, err)
				}
			}
			if got := p.Datagrams(); len(got) != 3 || got[2] != (NameAddr{"echo.example", four.Port()}).String() {
				t.Errorf("the proxy sent to %v", got)
			}
			if a := r.LocalAddr().(*net.UDPAddr); a.Port != 0 {
				t.Errorf("it says that others reach %v", a)
			}
			if text := log.String(); strings.Contains(text, "WARN") {
				t.Errorf("logged %s", text)
			}
		})
	}
}

// Only the relay is heard, and of its packets only the well-formed ones.
func TestRelayHearsNobodyElse(t *testing.T) {
	sockets := make(chan net.PacketConn, 1)
	p := startProxy(t, fakeproxy.Config{UDP: func() (in, out net.PacketConn, err error) {
		in, out, err = udpLoopback("127.0.0.1:0", "127.0.0.1:0")()
		sockets <- in
		return in, out, err
	}})
	w, _ := openVia(t, "socks5://"+p.Addr())
	r := openRelay(t, w, nil)
	await(t, r)
	relay := <-sockets
	cur, _ := r.current()
	ours := cur.packets.LocalAddr()
	stranger, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	const header = "\x00\x00\x00\x01\x01\x02\x03\x04\x00\x07"
	_, _ = stranger.WriteTo([]byte(header+"stranger"), ours)
	for _, b := range []string{
		"", "\x00\x00\x00", header[:9], "\x00\x00\x01" + header[3:] + "fragment", "\x00\x00\x00\x09" + header[4:] + "type", "\x00\x00\x00\x03\xffname",
		header + "heard", "\x00\x00\x00\x03\x04echo\x00\x07" + "by name",
	} {
		if _, err := relay.WriteTo([]byte(b), ours); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"heard from 1.2.3.4:7", "by name from echo:7"} {
		b := make([]byte, 100)
		_ = r.SetReadDeadline(time.Now().Add(20 * time.Second))
		n, from, err := r.ReadFrom(b)
		if got := fmt.Sprintf("%s from %v", b[:n], from); err != nil || got != want {
			t.Errorf("%s, %v", got, err)
		}
	}
	_ = r.SetReadDeadline(time.Unix(1, 0))
	if _, _, err := r.ReadFrom(nil); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("more came: %v", err)
	}
	for _, to := range []net.Addr{NameAddr{"", 1}, NameAddr{strings.Repeat("a", 256), 1}, &net.UDPAddr{}, &net.UnixAddr{Name: "x"}} {
		if _, err := r.WriteTo(nil, to); err == nil {
			t.Errorf("sent to %q", to)
		}
	}
}

// A proxy without UDP is found out by the check, is no error, and is not asked again.
func TestNoRelay(t *testing.T) {
	for _, tt := range []struct {
		scheme string
		cfg    fakeproxy.Config
		want   string
	}{
		{"socks5", fakeproxy.Config{}, "it answers: command not supported"},
		{"socks5", fakeproxy.Config{UDP: func() (a, b net.PacketConn, err error) { return nil, nil, errors.New("none left") }}, "it answers: general failure"},
		{"http", fakeproxy.Config{HTTP: true}, "HTTP proxies carry no UDP"},
	} {
		p := startProxy(t, tt.cfg)
		w, _ := openVia(t, tt.scheme+"://"+p.Addr())
		if err := w.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := w.NoRelay(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, not %s", tt.scheme, err, tt.want)
		}
		if _, err := w.OpenRelay(nil); !errors.Is(err, ErrProxied) {
			t.Errorf("%s: opened, %v", tt.scheme, err)
		}
		refusedBeside(t, w)
	}
	if _, err := (*Network)(nil).OpenRelay(nil); err == nil {
		t.Error("a relay without a proxy")
	}
}

func TestRelayAt(t *testing.T) {
	for _, tt := range []struct{ bound, proxy, want string }{
		{"192.0.2.1:7", "192.0.2.9", "192.0.2.1:7"},
		{"0.0.0.0:7", "192.0.2.9", "192.0.2.9:7"},
		{"0.0.0.0:7", "2001:db8::9", "[2001:db8::9]:7"},
		{"[::]:7", "192.0.2.9", "192.0.2.9:7"},
		{"127.0.0.1:7", "127.0.0.1", "127.0.0.1:7"},
		{"127.0.0.1:7", "192.0.2.9", "192.0.2.9:7"},
		{"10.0.0.1:7", "10.0.0.9", "10.0.0.1:7"},
		{"172.17.0.2:7", "192.0.2.9", "192.0.2.9:7"}, // of a container
		{"172.17.0.2:7", "127.0.0.1", "172.17.0.2:7"},
		{"224.0.0.1:7", "192.0.2.9", "192.0.2.9:7"},
		{"255.255.255.255:7", "192.0.2.9", "192.0.2.9:7"},
		{"192.0.2.1:0", "192.0.2.9", ""},
	} {
		got, err := relayAt(netip.MustParseAddrPort(tt.bound), netip.MustParseAddr(tt.proxy))
		if (err == nil) != (tt.want != "") || err == nil && got.String() != tt.want {
			t.Errorf("%s of %s: %v, %v", tt.bound, tt.proxy, got, err)
		}
	}
}

func FuzzDatagram(f *testing.F) {
	for _, s := range []string{
		"\x00\x00\x00\x01\x01\x02\x03\x04\x1a\xe1payload", "\x00\x00\x00\x03\x04name\x1a\xe1payload", "\x00\x00\x01\x01\x01\x02\x03\x04\x1a\xe1",
		"\x00\x00\x00\x04" + strings.Repeat("\x20", 16) + "\x00\x01", "\x00\x00\x00\x03\x00\x00\x01", "\x00\x00\x00\x01\x01",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		payload, from, err := parseDatagram(b)
		if err != nil {
			return
		}
		again, err := appendDatagram(nil, from)
		if err != nil {
			if n, ok := from.(NameAddr); ok && (n.Host == "" || strings.ContainsAny(n.Host, "[]:%")) {
				return // nothing that could be a name
			}
			t.Fatal(err)
		}
		back, addr, err := parseDatagram(append(again, payload...))
		if err != nil || string(back) != string(payload) {
			t.Errorf("%q and %q, %v", payload, back, err)
		}
		if n, ok := from.(NameAddr); ok && strings.ContainsAny(n.Host, ".:[]%") {
			return // an address that was written as a name
		}
		if addr.String() != from.String() {
			t.Errorf("%v became %v", from, addr)
		}
	})
}
