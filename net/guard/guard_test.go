package guard

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"torrentfs/net/egress"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestIsPublic(t *testing.T) {
	for addr, want := range map[string]bool{
		"8.8.8.8": true, "2606:4700::1": true, "64:ff9b::808:808": true, "2002:808:808::1": true, "::ffff:8.8.8.8": true,
		"127.0.0.1": false, "10.1.2.3": false, "172.31.0.1": false, "192.168.0.1": false, "169.254.169.254": false,
		"100.64.0.1": false, "0.0.0.0": false, "224.0.0.1": false, "255.255.255.255": false, "198.18.0.1": false,
		"::": false, "::1": false, "fe80::1": false, "fe80::1%eth0": false, "fc00::1": false, "fec0::1": false, "ff02::1": false,
		"::ffff:127.0.0.1": false, "::127.0.0.1": false, "64:ff9b::7f00:1": false, "64:ff9b:1::1": false, "2002:7f00:1::": false,
	} {
		if got := IsPublic(netip.MustParseAddr(addr)); got != want {
			t.Errorf("IsPublic(%s) = %v", addr, got)
		}
	}
}

func TestResolve(t *testing.T) {
	names := map[string][]netip.Addr{
		"public.example":  {netip.MustParseAddr("8.8.8.8")},
		"mixed.example":   {netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("8.8.8.8")},
		"private.example": {netip.MustParseAddr("10.0.0.1")},
		"localhost":       {netip.MustParseAddr("127.0.0.1")},
	}
	for _, tt := range []struct {
		host           string
		local, private bool
		want           string
		err            error
	}{
		{host: "public.example", want: "8.8.8.8"},
		{host: "mixed.example", want: "8.8.8.8"},
		{host: "private.example", err: ErrForbidden},
		{host: "private.example", local: true, err: ErrForbidden}, // a name is not an address
		{host: "private.example", private: true, want: "10.0.0.1"},
		{host: "10.0.0.1", err: ErrForbidden},
		{host: "10.0.0.1", local: true, want: "10.0.0.1"},
		{host: "localhost", local: true, want: "127.0.0.1"},
		{host: "224.0.0.1", local: true, private: true, err: ErrForbidden},
		{host: "x.i2p", private: true, err: ErrForbidden},
		{host: "X.ONION.", private: true, err: ErrForbidden},
		{host: "", err: ErrNoHost},
	} {
		d := Dialer{AllowPrivate: tt.private, Lookup: func(_ context.Context, host string) ([]netip.Addr, error) { return names[host], nil }}
		got, err := d.Resolve(WithLocal(t.Context(), tt.local), tt.host)
		if !errors.Is(err, tt.err) || err == nil && got[0].String() != tt.want {
			t.Errorf("%+v: %v, %v", tt, got, err)
		}
	}
}

func TestCheckRemote(t *testing.T) {
	for _, tt := range []struct {
		host    string
		private bool
		err     error
	}{
		{"tracker.example", false, nil},
		{"Tracker.Example.", false, nil},
		{"xn--bcher-kva.example", false, nil},
		{"8.8.8.8", false, nil},
		{"2606:4700::1", false, nil},
		{"::ffff:8.8.8.8", false, nil},
		{"10.0.0.1", true, nil},
		{"10.0.0.1", false, ErrForbidden},
		{"::ffff:10.0.0.1", false, ErrForbidden},
		{"fe80::1%eth0", true, ErrForbidden},
		{"169.254.169.254", false, ErrForbidden},
		{"224.0.0.1", true, ErrForbidden},
		{"0.0.0.0", true, ErrForbidden},
		{"localhost", true, ErrForbidden}, // the proxy's, not ours
		{"a.localhost", false, ErrForbidden},
		{"router", false, ErrForbidden},
		{"metadata.google.internal", false, ErrForbidden},
		{"printer.local.", false, ErrForbidden},
		{"nas.home.arpa", false, ErrForbidden},
		{"127.1", false, ErrForbidden},
		{"2130706433", false, ErrForbidden},
		{"0x7f000001", false, ErrForbidden},
		{"0X7F.1", false, ErrForbidden},
		{"127.0.0.1.", false, ErrForbidden},
		{"a.0x", false, ErrForbidden},
		{"a..example", false, ErrForbidden},
		{"x.onion", false, ErrForbidden},
		{"", false, ErrNoHost},
	} {
		if err := CheckRemote(tt.host, tt.private); !errors.Is(err, tt.err) {
			t.Errorf("%q, private %v: %v", tt.host, tt.private, err)
		}
	}
}

// A proxy gets names that pass, as they are; nothing is resolved here.
func TestVia(t *testing.T) {
	var asked []string
	d := Dialer{
		Lookup: func(context.Context, string) ([]netip.Addr, error) { t.Error("a name was looked up"); return nil, nil },
		Dial:   func(context.Context, string, string) (net.Conn, error) { t.Error("dialled directly"); return nil, nil },
		Via: func(_ context.Context, _, hostport string) (net.Conn, error) {
			asked = append(asked, hostport)
			return nil, nil
		},
	}
	local := WithLocal(t.Context(), true)
	for _, tt := range []struct {
		ctx      context.Context
		hostport string
		err      error
	}{
		{t.Context(), "tracker.example:80", nil},
		{t.Context(), "10.0.0.1:80", ErrForbidden},
		{local, "10.0.0.1:80", ErrForbidden}, // it would be the proxy's
		{local, "127.0.0.1:80", ErrForbidden},
		{local, "169.254.169.254:80", ErrForbidden},
		{local, "[::ffff:127.0.0.1]:80", ErrForbidden},
		{local, "[::1]:80", ErrForbidden},
		{local, "0x7f000001:80", ErrForbidden},
		{local, "2130706433:80", ErrForbidden},
		{local, "localhost:80", ErrForbidden},
	} {
		if _, err := d.DialContext(tt.ctx, "tcp", tt.hostport); !errors.Is(err, tt.err) {
			t.Errorf("%s: %v", tt.hostport, err)
		}
	}
	if want := []string{"tracker.example:80"}; !slices.Equal(asked, want) {
		t.Errorf("the proxy was asked for %v", asked)
	}
	if _, err := d.Resolve(t.Context(), "tracker.example"); !errors.Is(err, egress.ErrProxied) {
		t.Errorf("resolved: %v", err)
	}
	if addrs, err := d.Resolve(t.Context(), "8.8.8.8"); err != nil || len(addrs) != 1 { // asks no resolver
		t.Errorf("an address: %v, %v", addrs, err)
	}
}

func TestDialTakesTheFirstThatAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var tried []string
		var conns [2]net.Conn
		d := Dialer{
			Lookup: func(context.Context, string) ([]netip.Addr, error) {
				return []netip.Addr{netip.MustParseAddr("2606::1"), netip.MustParseAddr("2606::2"), netip.MustParseAddr("8.8.8.8")}, nil
			},
			Dial: func(ctx context.Context, _, addr string) (net.Conn, error) {
				mu.Lock()
				tried = append(tried, addr)
				mu.Unlock()
				if addr == "8.8.8.8:80" {
					conns[0], conns[1] = net.Pipe()
					return conns[0], nil
				}
				<-ctx.Done() // a black hole
				return nil, ctx.Err()
			},
		}
		began := time.Now()
		c, err := d.DialContext(t.Context(), "tcp", "host.example:80")
		if err != nil {
			t.Fatal(err)
		}
		defer conns[1].Close()
		defer c.Close()
		if want := []string{"[2606::1]:80", "8.8.8.8:80"}; !slices.Equal(tried, want) || time.Since(began) != fallbackDelay {
			t.Errorf("tried %v in %v", tried, time.Since(began))
		}
	})
}
