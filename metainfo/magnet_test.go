package metainfo

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

const (
	hexV1 = "2e34989b1c60df821b2d046c884d8f4d1858b97a"
	b32V1 = "FY2JRGY4MDPYEGZNARWIQTMPJUMFROL2"
	hexV2 = "caf1e1c30e81cb361b9ee167c4aa64228a7fa4fa9f6105232b28ad099f3a302e"
)

func TestParseMagnet(t *testing.T) {
	var v1, both, v2 InfoHash
	v1.HasV1, both.HasV1, both.HasV2, v2.HasV2 = true, true, true, true
	h1, err := parseSHA1(hexV1)
	if err != nil {
		t.Fatal(err)
	}
	v1.V1, both.V1 = h1, h1
	for i := range v2.V2 {
		v2.V2[i] = unhex(hexV2[2*i])<<4 | unhex(hexV2[2*i+1])
	}
	both.V2 = v2.V2
	tests := []struct {
		in   string
		want *Magnet
	}{
		{"magnet:?xt=urn:btih:" + hexV1, &Magnet{Hash: v1}},
		{"MAGNET:?xt=URN:BTIH:" + strings.ToUpper(hexV1), &Magnet{Hash: v1}},
		{"magnet:?xt=urn:btih:" + b32V1, &Magnet{Hash: v1}},
		{"magnet:?xt=urn:btih:" + strings.ToLower(b32V1), &Magnet{Hash: v1}},
		{"magnet:?xt=urn%3Abtih%3A" + hexV1 + "\n", &Magnet{Hash: v1}},
		{"magnet:?xt=urn:btmh:1220" + hexV2, &Magnet{Hash: v2}},
		{"magnet:?xt=urn:btmh:1220" + hexV2 + "&xt=urn:btih:" + hexV1, &Magnet{Hash: both}},
		{"magnet:?xt.1=urn:btih:" + hexV1 + "&xt.2=urn:btmh:1220" + hexV2, &Magnet{Hash: both}},
		{"magnet:?xt=urn:sha1:ABC&xt=urn:btih:" + hexV1 + "&xl=5&as=x&=&&kt=a", &Magnet{Hash: v1}},
		{"magnet:?dn=a+b%20c%26&dn=second&xt=urn:btih:" + hexV1, &Magnet{Hash: v1, Name: "a b c&"}},
		{"magnet:?dn=50%&xt=urn:btih:" + hexV1, &Magnet{Hash: v1, Name: "50%"}},
		{
			"magnet:?xt=urn:btih:" + hexV1 + "&tr=http%3A%2F%2Fa%2Fann&tr.2=udp://b:80&tr=http://a/ann&ws=http://w/&x.pe=1.2.3.4:5&x.pe=[::1]:6&x.pe=h:7",
			&Magnet{Hash: v1, Trackers: []string{"http://a/ann", "udp://b:80"}, WebSeeds: []string{"http://w/"}, Peers: []string{"1.2.3.4:5", "[::1]:6", "h:7"}},
		},
		// As web pages hand them over.
		{" \"magnet:?xt=urn:btih:" + hexV1 + "\"\r\n", &Magnet{Hash: v1}},
		{"<magnet:?xt=urn:btih:" + hexV1 + ">", &Magnet{Hash: v1}},
		{"\ufeffmagnet:?xt=urn:btih:" + hexV1 + "\u00a0", &Magnet{Hash: v1}},
		{"magnet:?\n&xt=urn:btih:" + hexV1 + "\n&xt=urn:md5:f07bbc03\n&dn=a b\n&tr=http%3A%2F%2Fa%2Fann%0A\n", &Magnet{Hash: v1, Name: "a b", Trackers: []string{"http://a/ann"}}},
		{"magnet:?xt=urn:btih:" + hexV1 + "&amp;dn=a&#38;tr=http://a/ann&amp;amp;x=1", &Magnet{Hash: v1, Name: "a", Trackers: []string{"http://a/ann"}}},
		{"magnet:///?xt=urn:btih:" + hexV1, &Magnet{Hash: v1}},
		{"magnet://?xt=urn:btih:" + hexV1, &Magnet{Hash: v1}},
		{"magnet%3A%3Fxt%3Durn%3Abtih%3A" + hexV1 + "%26dn%3Da%252Bb", &Magnet{Hash: v1, Name: "a+b"}},
		{"MAGNET:?XT=URN:BTIH:" + strings.ToUpper(hexV1) + "&TR=http://a/ann", &Magnet{Hash: v1, Trackers: []string{"http://a/ann"}}},
		{
			"magnet:?xt=urn:btih:" + hexV1 + "&xs=http%3A%2F%2Fw%2Fa.torrent&xs=urn:btih:" + hexV1 + "&xs=file:///etc/passwd&xs=HTTPS://w/b.torrent",
			&Magnet{Hash: v1, Sources: []string{"http://w/a.torrent", "HTTPS://w/b.torrent"}},
		},
		{"magnet:?xt=urn:btih:" + hexV1 + "&so=0,2,4,6-8", &Magnet{Hash: v1, Select: []IndexRange{{0, 0}, {2, 2}, {4, 4}, {6, 8}}}},
		{"magnet:?xt=urn:btih:" + hexV1 + "&so=0-2147483647", &Magnet{Hash: v1, Select: []IndexRange{{0, 1<<31 - 1}}}},
	}
	for _, tt := range tests {
		got, err := ParseMagnet(tt.in)
		if err != nil {
			t.Errorf("ParseMagnet(%q): %v", tt.in, err)
			continue
		}
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("ParseMagnet(%q): %s", tt.in, d)
		}
	}
	for _, bad := range []string{
		"", "magnet:", "magnet:?", "magnet:xt=urn:btih:" + hexV1, "magnet%3A%ZZ", "xmagnet:?xt=urn:btih:" + hexV1, "http://x/?xt=urn:btih:" + hexV1, "magnet:?dn=x", "magnet:?xt=urn:btih:", "magnet:?xt=urn:btih:1234",
		"magnet:?xt=urn:btih:" + hexV1[:39] + "g", "magnet:?xt=urn:btih:" + strings.Repeat("1", 32), "magnet:?xt=urn:btmh:" + hexV2,
		"magnet:?xt=urn:btmh:1220" + hexV2[:62], "magnet:?xt=urn:btmh:1320" + hexV2, "magnet:?xt=urn:btmh:1220" + hexV2[:63] + "x",
		"magnet:?xt=urn:btih:" + hexV1 + "&xt=urn:btih:" + strings.Repeat("0", 40),
		"magnet:?xt=urn:btih:" + hexV1 + "&so=x", "magnet:?xt=urn:btih:" + hexV1 + "&so=5-3", "magnet:?xt=urn:btih:" + hexV1 + "&so=-1",
		"magnet:?xt=urn:btih:" + hexV1 + "&so=99999999999999999999", "magnet:?xt=urn:btih:" + hexV1 + "&so=1-2147483648",
		"magnet:?xt=urn:btih:" + hexV1 + "&so=" + strings.Repeat("1,", 5000) + "1",
		"magnet:?xt=urn:btih:" + hexV1 + "&dn=" + strings.Repeat("x", 1<<20),
	} {
		if m, err := ParseMagnet(bad); !errors.Is(err, ErrMagnet) {
			t.Errorf("ParseMagnet(%.80q) = %v, %v", bad, m, err)
		}
	}
}

func unhex(c byte) byte { return byte(strings.IndexByte("0123456789abcdef", c)) }

func TestMagnetCorpus(t *testing.T) {
	dir, rows := corpus(t, "magnet")
	for _, row := range rows {
		raw, err := os.ReadFile(filepath.Join(dir, row["file"]))
		if err != nil {
			t.Fatal(err)
		}
		link, err := ParseMagnet(string(raw))
		if err != nil {
			t.Fatal(err)
		}
		torrent := strings.TrimSuffix(filepath.Base(row["file"]), ".magnet") + ".torrent"
		data, err := os.ReadFile(filepath.Join(dir, torrent))
		if err != nil {
			t.Fatal(err)
		}
		m, err := Parse(data, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if link.Hash != m.Info.Hash || link.Name != m.Info.Name {
			t.Errorf("%s is %v %q, its torrent %v %q", row["file"], link.Hash, link.Name, m.Info.Hash, m.Info.Name)
		}
		if got := m.Magnet(); got.Hash != link.Hash || got.Name != link.Name {
			t.Errorf("magnet of %s is %v", torrent, got)
		}
	}
}

func TestMagnetSelected(t *testing.T) {
	m := &Magnet{Select: []IndexRange{{0, 0}, {6, 8}}}
	for i, want := range []bool{true, false, false, false, false, false, true, true, true, false} {
		if m.Selected(i) != want {
			t.Errorf("Selected(%d) = %v", i, !want)
		}
	}
	if !(&Magnet{}).Selected(5) {
		t.Error("a link without so= must select all")
	}
}

func TestMagnetRoundTrip(t *testing.T) {
	text := rapid.OneOf(rapid.StringN(1, 30, -1), rapid.SampledFrom([]string{"a b+c&d=e%", "http://x/y?z=1&w", "\x80\xff"}))
	trimmed := text.Filter(func(s string) bool { return s == strings.TrimSpace(s) })
	list := rapid.SliceOfNDistinct(trimmed, 0, 4, rapid.ID[string])
	rapid.Check(t, func(t *rapid.T) {
		m := &Magnet{Trackers: list.Draw(t, "tr"), WebSeeds: list.Draw(t, "ws"), Peers: list.Draw(t, "pe")}
		for _, s := range list.Draw(t, "xs") {
			m.Sources = append(m.Sources, "http://x/"+s)
		}
		m.Hash.HasV1 = rapid.Bool().Draw(t, "v1")
		m.Hash.HasV2 = !m.Hash.HasV1 || rapid.Bool().Draw(t, "v2")
		if m.Hash.HasV1 {
			copy(m.Hash.V1[:], rapid.SliceOfN(rapid.Byte(), 20, 20).Draw(t, "h1"))
		}
		if m.Hash.HasV2 {
			copy(m.Hash.V2[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "h2"))
		}
		if rapid.Bool().Draw(t, "named") {
			m.Name = text.Draw(t, "dn")
		}
		for range rapid.IntRange(0, 3).Draw(t, "ranges") {
			first := rapid.IntRange(0, 1<<31-1).Draw(t, "first")
			m.Select = append(m.Select, IndexRange{first, rapid.IntRange(first, 1<<31-1).Draw(t, "last")})
		}
		got, err := ParseMagnet(m.String())
		if err != nil {
			t.Fatalf("%s: %v", m, err)
		}
		if got.String() != m.String() || got.Hash != m.Hash || got.Name != m.Name {
			t.Fatalf("%s came back as %s", m, got)
		}
	})
}

func FuzzMagnet(f *testing.F) {
	for _, s := range []string{
		"magnet:?xt=urn:btih:" + hexV1 + "&dn=x&tr=http%3A%2F%2Fa&so=0,2-4&x.pe=[::1]:6",
		"magnet:?xt=urn:btmh:1220" + hexV2, "magnet:?xt=urn:btih:" + b32V1, "magnet:?xt.1=%", "magnet:?", "",
		"magnet:///?xt=urn:btih:" + hexV1 + "&amp;xs=http://x/a.torrent", "magnet%3A%3Fxt%3Durn%3Abtih%3A" + hexV1,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, err := ParseMagnet(s)
		if err != nil {
			return
		}
		if !IsMagnet(s) {
			t.Fatalf("IsMagnet(%q) is false, and it was parsed", s)
		}
		again, err := ParseMagnet(m.String())
		if err != nil {
			t.Fatalf("ParseMagnet(%q) gives %q, which it refuses: %v", s, m, err)
		}
		if again.String() != m.String() {
			t.Fatalf("%q came back as %q", m, again)
		}
	})
}
