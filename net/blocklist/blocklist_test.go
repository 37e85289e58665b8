package blocklist

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func TestLines(t *testing.T) {
	for _, tt := range []struct {
		line        string
		first, last string // "" if the line is no entry
	}{
		{"Some: Company, Inc - old:1.2.3.0-1.2.3.255", "1.2.3.0", "1.2.3.255"},
		{"no-name:1.2.3.4-1.2.3.4", "1.2.3.4", "1.2.3.4"},
		{":1.2.3.4-1.2.3.5", "1.2.3.4", "1.2.3.5"},
		{"v6 net:2001:db8::-2001:db8::ff", "2001:db8::", "2001:db8::ff"},
		{"abc:2001:db8::-2001:db8::ff", "2001:db8::", "2001:db8::ff"},
		{"one:9.9.9.9", "9.9.9.9", "9.9.9.9"},
		{"net:9.9.9.9/31", "9.9.9.8", "9.9.9.9"},
		{"001.002.003.000 - 001.002.003.255 , 000 , description - x", "1.2.3.0", "1.2.3.255"},
		{"001.002.003.000 - 001.002.003.255 , 127 , last that is blocked", "1.2.3.0", "1.2.3.255"},
		{"010.008.009.010-010.008.009.011,100", "10.8.9.10", "10.8.9.11"},
		{"2001:db8:: - 2001:db8::1 , 0 , six", "2001:db8::", "2001:db8::1"},
		{"1.2.3.4-1.2.3.9", "1.2.3.4", "1.2.3.9"},
		{" 1.2.3.4 - 1.2.3.9 \r", "1.2.3.4", "1.2.3.9"},
		{"1.2.3.77/24", "1.2.3.0", "1.2.3.255"},
		{"0.0.0.0/0", "0.0.0.0", "255.255.255.255"},
		{"2001:db8:8000::1/33", "2001:db8:8000::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"},
		{"::/0", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
		{"1.2.3.4", "1.2.3.4", "1.2.3.4"},
		{"::ffff:1.2.3.4", "1.2.3.4", "1.2.3.4"},
		{"2001:db8::1", "2001:db8::1", "2001:db8::1"},

		{"1.2.3.4/33", "", ""},
		{"1.2.3.4/", "", ""},
		{"1.2.3.4/-1", "", ""},
		{"1.2.3.256", "", ""},
		{"1.2.3", "", ""},
		{"1.2.3.4.5", "", ""},
		{"1.2.3.0004", "", ""},
		{"x:1.2.3.9-1.2.3.4", "", ""},
		{"1.2.3.4-2001:db8::", "", ""},
		{"fe80::1%eth0", "", ""},
		{"<html>", "", ""},
		{"-", "", ""},
		{":", "", ""},
	} {
		first, last, what := parseEntry([]byte(strings.TrimSpace(tt.line)))
		if (what == blocked) != (tt.first != "") {
			t.Errorf("%q: verdict %d", tt.line, what)
			continue
		}
		if what == blocked && (first != addr(tt.first) || last != addr(tt.last)) {
			t.Errorf("%q: %v to %v", tt.line, first, last)
		}
	}
	if _, _, what := parseEntry([]byte("1.2.3.0 - 1.2.3.9 , 128 , allowed")); what != allowed {
		t.Errorf("level 128: verdict %d", what)
	}
}

func squeeze(s string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, s)
	z.Close()
	return b.Bytes()
}

func TestParse(t *testing.T) {
	text := "\xef\xbb\xbf# comment\n; another\n// third\n\na:1.0.0.0-1.0.0.9\nb:1.0.0.5-1.0.0.20\r\n1.0.0.21/32\n" +
		"garbage\n2001:db8::/32\n" + strings.Repeat("x", 3*maxLine) + ":9.9.9.9-9.9.9.9\n255.255.255.255\n8.8.8.8"
	for _, data := range [][]byte{[]byte(text), squeeze(text)} {
		l, rep, err := Parse(bytes.NewReader(data), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if l.Ranges() != 4 || rep.Lines != 8 || rep.Skipped != 2 || rep.First != "garbage" {
			t.Errorf("%d ranges, %+v", l.Ranges(), rep)
		}
		for a, want := range map[string]bool{
			"1.0.0.0": true, "1.0.0.21": true, "1.0.0.22": false, "0.255.255.255": false, "8.8.8.8": true, "8.8.8.9": false,
			"9.9.9.9": false, "255.255.255.255": true, "2001:db8::": true, "2001:db9::": false, "2001:db7:ffff::": false,
			"::ffff:8.8.8.8": true,
		} {
			if got := l.Contains(addr(a)); got != want {
				t.Errorf("Contains(%s) = %v", a, got)
			}
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		data []byte
		lim  Limits
		want error
	}{
		"a web page":    {[]byte("<html>\n<body>404</body>\n</html>"), Limits{}, ErrFormat},
		"zip":           {[]byte("PK\x03\x04..."), Limits{}, ErrFormat},
		"binary":        {[]byte("\xff\xff\xff\xffP2B\x02"), Limits{}, ErrFormat},
		"broken gzip":   {[]byte("\x1f\x8b\x08zzzz"), Limits{}, ErrFormat},
		"too long":      {[]byte("1.1.1.1\n2.2.2.2\n"), Limits{Bytes: 10}, ErrLimit},
		"a bomb":        {squeeze(strings.Repeat("\n", 1<<20)), Limits{Bytes: 1 << 16}, ErrLimit},
		"too many":      {[]byte("1.1.1.1\n3.2.2.2\n"), Limits{Ranges: 1}, ErrLimit},
		"cut-off gzip":  {squeeze("1.1.1.1\n")[:20], Limits{}, io.ErrUnexpectedEOF},
		"reading fails": {nil, Limits{}, os.ErrDeadlineExceeded},
	} {
		var r io.Reader = bytes.NewReader(tt.data)
		if tt.data == nil {
			r = io.MultiReader(strings.NewReader("1.1.1.1\n"), failing{})
		}
		if l, _, err := Parse(r, tt.lim); !errors.Is(err, tt.want) || l != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, s := range []string{"", "# nothing\n"} {
		if l, _, err := Parse(strings.NewReader(s), Limits{}); err != nil || l.Ranges() != 0 {
			t.Errorf("%q: %v", s, err)
		}
	}
	var none *List
	if none.Contains(addr("1.1.1.1")) || none.Ranges() != 0 || new(List).Contains(netip.Addr{}) {
		t.Error("nothing contains something")
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, os.ErrDeadlineExceeded }

// A list blocks what its ranges name, in any order and with overlaps.
func TestContainsIsMembership(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		six := rapid.Bool().Draw(t, "six")
		at := func(n int) netip.Addr { // a small world, at both ends of the large one
			b := make([]byte, 4, 16)
			if six {
				b = b[:16]
			}
			if n >= 40 {
				for i := range b {
					b[i] = 0xff
				}
			}
			b[len(b)-1] = byte(n)
			if n >= 40 {
				b[len(b)-1] = byte(256 - 80 + n)
			}
			a, _ := netip.AddrFromSlice(b)
			return a
		}
		var want [80]bool
		var a, b List
		for i := range rapid.IntRange(0, 12).Draw(t, "ranges") {
			first := rapid.IntRange(0, 79).Draw(t, "first")
			last := rapid.IntRange(first, 79).Draw(t, "last")
			if first < 40 && last >= 40 {
				last = 39
			}
			for k := first; k <= last; k++ {
				want[k] = true
			}
			[]*List{&a, &b}[i%2].add(at(first), at(last))
		}
		l := Merge(&a, nil, &b)
		for k, w := range want {
			if got := l.Contains(at(k)); got != w {
				t.Fatalf("Contains(%v) = %v", at(k), got)
			}
		}
		for i := 1; i < len(l.v4); i++ {
			if l.v4[i].first <= l.v4[i-1].last+1 {
				t.Fatalf("ranges touch: %v", l.v4)
			}
		}
	})
}

func corpus(t testing.TB) (names []string) {
	dir := os.Getenv("TORRENTFS_TESTDATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "testdata")
	}
	names, _ = filepath.Glob(filepath.Join(dir, "torrents", "blocklist", "*"))
	return names
}

func TestCorpus(t *testing.T) {
	names := corpus(t)
	if len(names) == 0 {
		t.Skip("no samples: TORRENTFS_TESTDATA does not lead to them")
	}
	inside := map[string]string{"rain--blocklist.cidr": "4.21.101.77", "wtfixtures--blocklist.txt": "5.6.7.8"}
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		l, rep, err := Parse(f, Limits{})
		f.Close()
		if err != nil || rep.Skipped != 0 || l.Ranges() == 0 {
			t.Errorf("%s: %d ranges, %+v, %v", filepath.Base(name), l.Ranges(), rep, err)
		}
		if a, ok := inside[filepath.Base(name)]; ok && !l.Contains(addr(a)) {
			t.Errorf("%s does not contain %s", filepath.Base(name), a)
		}
		if l.Contains(addr("192.0.2.1")) {
			t.Errorf("%s contains 192.0.2.1", filepath.Base(name))
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range corpus(f) {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("a:1.2.3.4-1.2.3.5\n001.002.003.004 - 001.002.003.005 , 0 , x\n2001:db8::/32\nb:::-::1"))
	f.Add(squeeze("1.2.3.4\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, rep, err := Parse(bytes.NewReader(b), Limits{Bytes: 1 << 20, Ranges: 1000})
		if err != nil {
			return
		}
		if l.Ranges() > rep.Lines-rep.Skipped {
			t.Fatalf("%d ranges of %+v", l.Ranges(), rep)
		}
		for _, s := range l.v4 {
			for _, n := range []uint32{s.first, s.last} {
				if a := netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}); !l.Contains(a) {
					t.Fatalf("%v is missing", a)
				}
			}
		}
	})
}

// million is a list of a million ranges, as P2P text.
func million() []byte {
	rnd := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	n := uint32(1 << 24)
	for range 1_000_000 {
		n += 2 + rnd.Uint32N(3000)
		last := n + rnd.Uint32N(500)
		fmt.Fprintf(&b, "Some organisation:%d.%d.%d.%d-%d.%d.%d.%d\n", n>>24, n>>16&255, n>>8&255, n&255, last>>24, last>>16&255, last>>8&255, last&255)
		n = last
	}
	return b.Bytes()
}

func BenchmarkParseMillion(b *testing.B) {
	data := million()
	b.SetBytes(int64(len(data)))
	var l *List
	for b.Loop() {
		var err error
		if l, _, err = Parse(bytes.NewReader(data), Limits{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(l.Ranges()), "ranges")
	runtime.GC()
	var ms runtime.MemStats
	before := func() uint64 { runtime.ReadMemStats(&ms); return ms.HeapAlloc }
	with := before()
	n := l.Ranges()
	l = nil
	runtime.GC()
	b.ReportMetric(float64(with-before())/float64(n), "B/range")
}

func BenchmarkContainsMillion(b *testing.B) {
	l, _, err := Parse(bytes.NewReader(million()), Limits{})
	if err != nil {
		b.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(3, 4))
	var addrs [1024]netip.Addr
	for i := range addrs {
		n := rnd.Uint32()
		addrs[i] = netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		l.Contains(addrs[i%len(addrs)])
	}
}
