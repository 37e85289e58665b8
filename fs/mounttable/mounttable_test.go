package mounttable

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		line string
		want Mount
		ok   bool
	}{
		{
			`36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`,
			Mount{36, "98:0", "/mnt1", "/mnt2", "ext3", "/dev/root"},
			true,
		},
		{
			`90 28 0:45 / /mnt/a\040film\134 ro,nosuid - fuse.torrentfs torrent:a\040film ro`,
			Mount{90, "0:45", "/", `/mnt/a film\`, "fuse.torrentfs", "torrent:a film"},
			true,
		},
		{
			"90 28 0:45 / /mnt/Film\u00a0un\u3000\u2028\r\v ro shared:1 master:2 - fuse.torrentfs x ro",
			Mount{90, "0:45", "/", "/mnt/Film\u00a0un\u3000\u2028\r\v", "fuse.torrentfs", "x"},
			true,
		},
		{ // an empty source
			`90 28 0:45 / /mnt ro - tmpfs  rw`,
			Mount{90, "0:45", "/", "/mnt", "tmpfs", ""},
			true,
		},
		{`36 35 98:0 / /mnt2 rw`, Mount{}, false},
		{`36 35 - ext3`, Mount{}, false},
		{`x 35 98:0 / /mnt2 rw - ext3 / rw`, Mount{}, false},
		{``, Mount{}, false},
	} {
		got := Parse(c.line + "\n")
		if c.ok != (len(got) == 1) || c.ok && got[0] != c.want {
			t.Errorf("%q: %+v, want %+v", c.line, got, c.want)
		}
	}
}

func TestPointsInSight(t *testing.T) {
	table := Parse("1 0 0:1 / / rw - ext4 a rw\n2 1 0:5 / /m rw - fuse.torrentfs a rw\n3 1 0:5 / /copy rw - fuse.torrentfs a rw\n" +
		"4 1 0:5 / /hidden rw - fuse.torrentfs a rw\n5 1 0:6 / /hidden rw - tmpfs a rw\n6 2 0:5 / /m rw - fuse.torrentfs a rw\n")
	if got := Points(table, "0:5"); !slices.Equal(got, []string{"/m", "/copy"}) {
		t.Errorf("points %q", got)
	}
	if m, ok := At(table, "/hidden"); !ok || m.Type != "tmpfs" {
		t.Errorf("in sight: %+v", m)
	}
	if !Has(table, "0:5") || Has(table, "0:7") {
		t.Error("Has is wrong")
	}
}

// escape is what the kernel does to names in its table.
func escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if strings.IndexByte(" \t\n\\#", s[i]) >= 0 {
			fmt.Fprintf(&b, `\%03o`, s[i])
		} else {
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// Every name that a directory can have comes out of the table as it went in.
func FuzzParse(f *testing.F) {
	for _, name := range []string{"/m", "/a b", "/a\nb\tc\\#", "/\u00a0\u3000\u2028\r\v\f", `/\040`, "/\xff\x85\xa0", "/ - "} {
		f.Add(name, "torrent:x")
	}
	f.Fuzz(func(t *testing.T, point, source string) {
		if strings.Contains(point+source, "\x00") {
			t.Skip("no name has this")
		}
		line := fmt.Sprintf("9 1 0:45 / %s ro,relatime shared:3 - fuse.torrentfs %s ro\n", escape(point), escape(source))
		got := Parse(line)
		want := Mount{9, "0:45", "/", point, "fuse.torrentfs", source}
		if len(got) != 1 || got[0] != want {
			t.Errorf("%q: %+v, want %+v", line, got, want)
		}
		Parse(point + source) // never panics
	})
}
