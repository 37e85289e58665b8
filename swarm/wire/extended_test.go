package wire

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var compareAddrs = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
	cmpopts.EquateEmpty(),
}

func TestExtHandshake(t *testing.T) {
	h := ExtHandshake{
		M: map[string]uint8{ExtPEX: 1, ExtMetadata: 2, ExtDontHave: 7, "off": 0},
		V: "torrentfs 1.0 ✓", Reqq: 500, MetadataSize: 31235, Port: 6881,
		YourIP: netip.MustParseAddr("203.0.113.9"), IPv4: netip.MustParseAddr("198.51.100.1"),
		IPv6: netip.MustParseAddr("2001:db8::1"), UploadOnly: true, Encrypt: true,
	}
	body := h.Append(nil)
	want := "d1:ei1e4:ipv44:\xc6\x33\x64\x01" +
		"4:ipv616:\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" +
		"1:md11:lt_donthavei7e3:offi0e11:ut_metadatai2e6:ut_pexi1ee" +
		"13:metadata_sizei31235e1:pi6881e4:reqqi500e11:upload_onlyi1e" +
		"1:v17:torrentfs 1.0 ✓6:yourip4:\xcb\x00\x71\x09e"
	mustEqual(t, "body", body, []byte(want))
	got, err := ParseExtHandshake(body)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(h, got, compareAddrs); d != "" {
		t.Fatal(d)
	}
	mustEqual(t, "empty", (&ExtHandshake{}).Append(nil), []byte("d1:mdee"))
}

func TestExtHandshakeOddValues(t *testing.T) {
	for in, want := range map[string]ExtHandshake{
		"de":                             {},
		"detrailing":                     {},
		"d4:reqqi-1ee":                   {},
		"d4:reqqi4294967296ee":           {},
		"d4:reqq3:onee":                  {},
		"d13:metadata_sizei-5ee":         {},
		"d13:metadata_sizei4294967297ee": {MetadataSize: 1<<32 + 1},
		"d1:pi65536ee":                   {},
		"d6:yourip3:abce":                {},
		"d4:ipv416:0123456789abcdefe":    {},
		"d4:ipv64:abcde":                 {},
		"d1:mi1ee":                       {},
		"d1:md6:ut_pexi256e4:goodi1eee":  {M: map[string]uint8{"good": 1}},
		"d1:md6:ut_pexi-1e4:good1:1ee":   {},
		"d11:upload_onlyi7ee":            {UploadOnly: true},
		"d1:v4:\xff\xfeoke":              {V: "ok"},
		"d1:v200:" + strings.Repeat("a", 200) + "e": {V: strings.Repeat("a", maxVersionName)},
	} {
		got, err := ParseExtHandshake([]byte(in))
		if err != nil {
			t.Errorf("%.40q: %v", in, err)
			continue
		}
		if d := cmp.Diff(want, got, compareAddrs); d != "" {
			t.Errorf("%.40q: %s", in, d)
		}
	}
	for _, in := range []string{"", "d", "le", "i1e", "d1:md6:ut_pexi1e", "d999999999999:x", strings.Repeat("d1:a", 100), "d1:a1:b1:a1:ce"} {
		if _, err := ParseExtHandshake([]byte(in)); !errors.Is(err, ErrProtocol) {
			t.Errorf("%.40q: %v, want a protocol violation", in, err)
		}
	}
}

func TestExtHandshakeManyNames(t *testing.T) {
	m := map[string]uint8{strings.Repeat("x", maxExtName+1): 1}
	for i := range 200 {
		m[fmt.Sprintf("ext%03d", i)] = 1
	}
	got, err := ParseExtHandshake((&ExtHandshake{M: m}).Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	names := slices.Sorted(maps.Keys(got.M))
	if len(names) != maxExtensions || names[0] != "ext000" || names[63] != "ext063" {
		t.Errorf("kept %d: %v", len(names), names)
	}
}

func TestExtIDs(t *testing.T) {
	var ids ExtIDs
	ids.Update(&ExtHandshake{M: map[string]uint8{ExtPEX: 1, ExtMetadata: 2}})
	ids.Update(&ExtHandshake{M: map[string]uint8{ExtPEX: 0, ExtDontHave: 9, "other": 4}})
	ids.Update(&ExtHandshake{})
	if want := (ExtIDs{Metadata: 2, DontHave: 9}); ids != want {
		t.Errorf("got %+v, want %+v", ids, want)
	}
}

func TestMetadata(t *testing.T) {
	full := pattern(MetadataBlock)
	for _, m := range []Metadata{
		{Type: MetadataRequest, Piece: 0},
		{Type: MetadataReject, Piece: math.MaxInt32},
		{Type: MetadataData, Piece: 1, TotalSize: 2*MetadataBlock + 5, Data: full},
		{Type: MetadataData, Piece: 2, TotalSize: 2*MetadataBlock + 5, Data: full[:5]},
		{Type: MetadataData, Piece: MaxMetadata/MetadataBlock - 1, TotalSize: MaxMetadata, Data: full},
	} {
		got, err := ParseMetadata(m.Append(nil))
		if err != nil {
			t.Errorf("%d of %d: %v", m.Piece, m.TotalSize, err)
		} else if d := cmp.Diff(m, got); d != "" {
			t.Error(d)
		}
	}
	mustEqual(t, "request", (&Metadata{Piece: 3}).Append(nil), []byte("d8:msg_typei0e5:piecei3ee"))
	mustEqual(t, "data", (&Metadata{Type: MetadataData, TotalSize: 2, Data: []byte("xx")}).Append(nil),
		[]byte("d8:msg_typei1e5:piecei0e10:total_sizei2eexx"))
	if m, err := ParseMetadata([]byte("d8:msg_typei3ee")); err != nil || m.Type != MetadataUnknown {
		t.Errorf("unknown kind: %+v, %v; BEP 9 wants it ignored", m, err)
	}
	for _, in := range []string{
		"", "de", "d8:msg_typei0ee", "d5:piecei0ee", "d8:msg_typei0e5:piecei-1ee",
		"d8:msg_typei0e5:piecei2147483648ee",
		"d8:msg_typei1e5:piecei0ee",                               // no size
		"d8:msg_typei1e5:piecei0e10:total_sizei0ee",               // nothing
		"d8:msg_typei1e5:piecei0e10:total_sizei-1ee",              // negative
		"d8:msg_typei1e5:piecei0e10:total_sizei4294967300ee0123",  // 2^32+4
		"d8:msg_typei1e5:piecei0e10:total_sizei4ee",               // no data
		"d8:msg_typei1e5:piecei0e10:total_sizei4ee01234",          // too much
		"d8:msg_typei1e5:piecei1e10:total_sizei4ee0123",           // no such block
		"d8:msg_typei1e5:piecei2147483647e10:total_sizei4ee0123",  // nor that
		"d8:msg_typei1e5:piecei0e10:total_sizei31457281ee" + "xx", // over 30 MiB
	} {
		if m, err := ParseMetadata([]byte(in)); !errors.Is(err, ErrProtocol) {
			t.Errorf("%q: %+v, %v; want a protocol violation", in, m, err)
		}
	}
}

func TestPEX(t *testing.T) {
	p := PEX{
		Added: []PEXPeer{
			{netip.MustParseAddrPort("198.51.100.1:6881"), PEXSeed | PEXReachable},
			{netip.MustParseAddrPort("198.51.100.2:1"), 0},
			{netip.MustParseAddrPort("[2001:db8::1]:65535"), PEXuTP},
		},
		Dropped: []netip.AddrPort{
			netip.MustParseAddrPort("198.51.100.3:2"),
			netip.MustParseAddrPort("[2001:db8::2]:3"),
		},
	}
	body := p.Append(nil)
	got, err := ParsePEX(body)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(p, got, compareAddrs); d != "" {
		t.Fatal(d)
	}
	if want := "d5:added12:\xc6\x33\x64\x01\x1a\xe1\xc6\x33\x64\x02\x00\x017:added.f2:\x12\x00"; !bytes.HasPrefix(body, []byte(want)) {
		t.Errorf("body %q", body)
	}
}

func TestPEXOddValues(t *testing.T) {
	many := strings.Repeat("\x7f\x00\x00\x01\x1a\xe1", 200)
	for _, tc := range []struct {
		in             string
		added, dropped int
	}{
		{"de", 0, 0},
		{"d5:addedi1ee", 0, 0},
		{"d5:added3:abce", 0, 0},
		{"d5:added7:\x01\x02\x03\x04\x00\x05xe", 1, 0},
		{"d5:added6:\x01\x02\x03\x04\x00\x00e", 0, 0}, // port 0
		{"d5:added6:\x00\x00\x00\x00\x00\x01e", 0, 0}, // address 0
		{"d5:added1200:" + many + "7:dropped1200:" + many + "e", MaxPEX, MaxPEX},
		{"d8:dropped618:0123456789abcdef\x00\x01e", 0, 1},
	} {
		p, err := ParsePEX([]byte(tc.in))
		if err != nil || len(p.Added) != tc.added || len(p.Dropped) != tc.dropped {
			t.Errorf("%.40q: %d added, %d dropped, %v; want %d, %d", tc.in, len(p.Added), len(p.Dropped), err, tc.added, tc.dropped)
		}
	}
	for _, in := range []string{"", "le", "d5:added600:e"} {
		if _, err := ParsePEX([]byte(in)); !errors.Is(err, ErrProtocol) {
			t.Errorf("%q: %v, want a protocol violation", in, err)
		}
	}
	var p PEX
	for i := range 80 {
		a := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 1)
		p.Added = append(p.Added, PEXPeer{Addr: a})
		p.Dropped = append(p.Dropped, a)
	}
	got, err := ParsePEX(p.Append(nil))
	if err != nil || len(got.Added) != MaxPEX || len(got.Dropped) != MaxPEX {
		t.Errorf("sent %d added, %d dropped (%v), want %d", len(got.Added), len(got.Dropped), err, MaxPEX)
	}
}

func TestDontHave(t *testing.T) {
	if p, err := ParseDontHave([]byte{0, 0, 0, 9}, 10); err != nil || p != 9 {
		t.Errorf("got %d, %v", p, err)
	}
	if p, err := ParseDontHave([]byte{0xff, 0xff, 0xff, 0xff}, 0); err != nil || p != 1<<32-1 {
		t.Errorf("pieces unknown: got %d, %v", p, err)
	}
	for _, b := range [][]byte{nil, {0, 0, 0}, {0, 0, 0, 1, 0}, {0, 0, 0, 10}, {0xff, 0xff, 0xff, 0xff}} {
		if _, err := ParseDontHave(b, 10); !errors.Is(err, ErrProtocol) {
			t.Errorf("%x: %v", b, err)
		}
	}
}
