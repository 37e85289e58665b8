package wire

import (
	"errors"
	"net/netip"
	"testing"
)

func TestHolepunch(t *testing.T) {
	v4, v6 := netip.MustParseAddrPort("198.51.100.7:6881"), netip.MustParseAddrPort("[2001:db8::7]:65535")
	for _, tc := range []struct {
		name string
		msg  Holepunch
		body string
	}{
		{"rendezvous", Holepunch{Type: HolepunchRendezvous, Addr: v4}, "\x00\x00\xc6\x33\x64\x07\x1a\xe1\x00\x00\x00\x00"},
		{
			"connect, IPv6",
			Holepunch{Type: HolepunchConnect, Addr: v6},
			"\x01\x01\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07\xff\xff\x00\x00\x00\x00",
		},
		{"failed", Holepunch{Type: HolepunchFailed, Addr: v4, Err: HolepunchNoSelf}, "\x02\x00\xc6\x33\x64\x07\x1a\xe1\x00\x00\x00\x04"},
	} {
		mustEqual(t, tc.name, tc.msg.Append(nil), []byte(tc.body))
		if got, err := ParseHolepunch([]byte(tc.body)); err != nil || got != tc.msg {
			t.Errorf("%s: %+v, %v", tc.name, got, err)
		}
	}
}

// What others send that is not quite the BEP's.
func TestHolepunchOddForms(t *testing.T) {
	at := netip.MustParseAddrPort("1.2.3.4:5")
	for in, want := range map[string]Holepunch{
		"\x01\x00\x01\x02\x03\x04\x00\x05":                         {Type: HolepunchConnect, Addr: at}, // libtorrent
		"\x02\x00\x01\x02\x03\x04\x00\x05":                         {Type: HolepunchFailed, Addr: at},
		"\x00\x00\x01\x02\x03\x04\x00\x05\x00\x00\x00\x09":         {Type: HolepunchRendezvous, Addr: at},
		"\x02\x00\x01\x02\x03\x04\x00\x05\x00\x00\x00\x09trailing": {Type: HolepunchFailed, Addr: at, Err: 9},
		"\x63\x00\x01\x02\x03\x04\x00\x05":                         {Type: 99, Addr: at},
		"\x00\x00\x00\x00\x00\x00\x00\x00":                         {Addr: netip.MustParseAddrPort("0.0.0.0:0")},
	} {
		if got, err := ParseHolepunch([]byte(in)); err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "\x00", "\x00\x00", "\x00\x02\x01\x02\x03\x04\x00\x05", "\x00\x00\x01\x02\x03\x04\x00", "\x00\x01\x01\x02\x03\x04\x00\x05"} {
		if h, err := ParseHolepunch([]byte(in)); !errors.Is(err, ErrProtocol) {
			t.Errorf("%q: %+v, %v; want a protocol violation", in, h, err)
		}
	}
	for code := range HolepunchError(6) {
		if code.String() == "" {
			t.Errorf("code %d has no words", code)
		}
	}
}

// FuzzHolepunch: what decodes encodes to what decodes to the same.
func FuzzHolepunch(f *testing.F) {
	f.Add([]byte("\x00\x00\xc6\x33\x64\x07\x1a\xe1\x00\x00\x00\x00"))
	f.Add([]byte("\x01\x01\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07\xff\xff"))
	f.Add([]byte("\x02\x00\xc6\x33\x64\x07\x1a\xe1\x00\x00\x00\x04"))
	f.Fuzz(func(t *testing.T, in []byte) {
		h, err := ParseHolepunch(in)
		if err != nil {
			if !errors.Is(err, ErrProtocol) {
				t.Fatal(err)
			}
			return
		}
		again, err := ParseHolepunch(h.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		if h.Addr = netip.AddrPortFrom(h.Addr.Addr().Unmap(), h.Addr.Port()); again != h { // a mapped address is an IPv4 one
			t.Fatalf("%+v became %+v", h, again)
		}
	})
}
