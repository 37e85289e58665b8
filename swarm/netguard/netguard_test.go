package netguard

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
