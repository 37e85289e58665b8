package lsd

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func hash(b byte) (h [20]byte) {
	for i := range h {
		h[i] = b
	}
	return h
}

// The message as the BEP prints it.
const golden = "BT-SEARCH * HTTP/1.1\r\n" +
	"Host: 239.192.152.143:6771\r\n" +
	"Port: 6881\r\n" +
	"Infohash: abababababababababababababababababababab\r\n" +
	"Infohash: 0101010101010101010101010101010101010101\r\n" +
	"cookie: name=value\r\n" +
	"\r\n\r\n"

func TestGolden(t *testing.T) {
	a := Announce{Host: group4, Port: 6881, InfoHashes: [][20]byte{hash(0xab), hash(1)}, Cookie: "name=value"}
	if got := string(a.Append(nil)); got != golden {
		t.Errorf("message\n%q\nwant\n%q", got, golden)
	}
	got, err := Parse([]byte(golden))
	if err != nil {
		t.Fatal(err)
	}
	if got.Host != a.Host || got.Port != a.Port || got.Cookie != a.Cookie || !slices.Equal(got.InfoHashes, a.InfoHashes) {
		t.Errorf("parsed %+v, want %+v", got, a)
	}
}

func TestParse(t *testing.T) {
	const ih = "Infohash: abababababababababababababababababababab\r\n"
	tests := []struct {
		name, in string
		ok       bool
	}{
		{"least", "BT-SEARCH * HTTP/1.1\r\nPort: 1\r\n" + ih, true},
		{"other case, no space, tabs", "BT-SEARCH * HTTP/1.1\r\npORT:\t6881 \r\n" + strings.ToUpper(ih), true},
		{"bare line feeds", "BT-SEARCH * HTTP/1.1\nPort: 6881\n" + ih + "\n\n", true},
		{"unknown header", "BT-SEARCH * HTTP/1.1\r\nX-New: yes\r\nPort: 6881\r\n" + ih, true},
		{"unreadable host", "BT-SEARCH * HTTP/1.1\r\nHost: example.com:x\r\nPort: 6881\r\n" + ih, true},
		{"what follows the end", "BT-SEARCH * HTTP/1.1\r\nPort: 6881\r\n" + ih + "\r\n\r\nrubbish", true},
		{"empty", "", false},
		{"other method", "GET * HTTP/1.1\r\nPort: 6881\r\n" + ih, false},
		{"other version", "BT-SEARCH * HTTP/1.0\r\nPort: 6881\r\n" + ih, false},
		{"no port", "BT-SEARCH * HTTP/1.1\r\n" + ih, false},
		{"port 0", "BT-SEARCH * HTTP/1.1\r\nPort: 0\r\n" + ih, false},
		{"port 65536", "BT-SEARCH * HTTP/1.1\r\nPort: 65536\r\n" + ih, false},
		{"port -1", "BT-SEARCH * HTTP/1.1\r\nPort: -1\r\n" + ih, false},
		{"port +1", "BT-SEARCH * HTTP/1.1\r\nPort: +1\r\n" + ih, false},
		{"two ports", "BT-SEARCH * HTTP/1.1\r\nPort: 1\r\nPort: 2\r\n" + ih, false},
		{"no info-hash", "BT-SEARCH * HTTP/1.1\r\nPort: 6881\r\n\r\n", false},
		{"info-hash after the end", "BT-SEARCH * HTTP/1.1\r\nPort: 6881\r\n\r\n" + ih, false},
		{"short info-hash", "BT-SEARCH * HTTP/1.1\r\nPort: 6881\r\nInfohash: abab\r\n", false},
		{"info-hash not hex", "BT-SEARCH * HTTP/1.1\r\nPort: 6881\r\nInfohash: zz" + strings.Repeat("ab", 19) + "\r\n", false},
		{"line without colon", "BT-SEARCH * HTTP/1.1\r\nPort 6881\r\n" + ih, false},
		{"too many headers", "BT-SEARCH * HTTP/1.1\r\nPort: 6881\r\n" + ih + strings.Repeat("a:b\r\n", maxHeaders), false},
		{"too long", "BT-SEARCH * HTTP/1.1\r\nPort: 6881\r\n" + ih + "x: " + strings.Repeat("y", maxDatagram), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, err := Parse([]byte(tt.in))
			if (err == nil) != tt.ok || (err != nil && !errors.Is(err, ErrMalformed)) {
				t.Fatalf("%+v, %v", a, err)
			}
			if tt.ok && !slices.Equal(a.InfoHashes, [][20]byte{hash(0xab)}) {
				t.Errorf("info-hashes %x", a.InfoHashes)
			}
		})
	}
}

// A message with as many torrents as it has room for is as long as it may be,
// and reads as it was written.
func TestCapacity(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := Announce{
			Host:   rapid.SampledFrom([]netip.AddrPort{group4, group6}).Draw(t, "host"),
			Port:   rapid.Uint16Min(1).Draw(t, "port"),
			Cookie: rapid.StringMatching(`[a-z0-9=]{0,40}`).Draw(t, "cookie"),
		}
		for i := range a.Capacity() {
			a.InfoHashes = append(a.InfoHashes, hash(byte(i)))
		}
		b := a.Append(nil)
		if len(b) > MaxPacket || len(b) <= MaxPacket-52 {
			t.Errorf("%d torrents make %d bytes", len(a.InfoHashes), len(b))
		}
		got, err := Parse(b)
		if err != nil || got.Host != a.Host || got.Port != a.Port || got.Cookie != a.Cookie || !slices.Equal(got.InfoHashes, a.InfoHashes) {
			t.Errorf("parsed %+v, %v; want %+v", got, err, a)
		}
	})
}

// samples are the datagrams of each sample of the kind lsd, by its name.
func samples(tb testing.TB) map[string][][]byte {
	tb.Helper()
	root := os.Getenv("TORRENTFS_TESTDATA")
	if root == "" {
		root = "../../../shared/testdata"
	}
	files, _ := filepath.Glob(filepath.Join(root, "torrents/wire/lsd/*.bin"))
	if len(files) == 0 {
		tb.Skipf("no samples in %s: set TORRENTFS_TESTDATA", root)
	}
	all := make(map[string][][]byte)
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			tb.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(f), ".bin")
		for len(data) >= 2 {
			n := min(int(binary.BigEndian.Uint16(data)), len(data)-2)
			all[name] = append(all[name], data[2:2+n])
			data = data[2+n:]
		}
	}
	return all
}

func TestSamples(t *testing.T) {
	valid := map[string]bool{"lsd_valid": true, "lsd_two_announces": true}
	for name, datagrams := range samples(t) {
		for i, b := range datagrams {
			a, err := Parse(b)
			if (err == nil) != valid[name] {
				t.Errorf("%s, datagram %d: %+v, %v", name, i, a, err)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(golden))
	for _, datagrams := range samples(f) {
		for _, b := range datagrams {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := Parse(b)
		if err != nil {
			return
		}
		if a.Port == 0 || len(a.InfoHashes) == 0 || len(a.InfoHashes) > maxHeaders {
			t.Fatalf("accepted %+v", a)
		}
		if strings.Contains(a.Cookie, "\n") {
			t.Fatalf("a cookie of several lines: %q", a.Cookie)
		}
		again, err := Parse(a.Append(nil))
		if len(a.Append(nil)) <= maxDatagram && (err != nil || again.Port != a.Port || !slices.Equal(again.InfoHashes, a.InfoHashes)) {
			t.Fatalf("written and read again: %+v, %v; was %+v", again, err, a)
		}
	})
}
