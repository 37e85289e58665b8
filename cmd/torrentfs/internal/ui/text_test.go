package ui

import (
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"
)

func TestParseSize(t *testing.T) {
	tests := []struct {
		in   string
		want int64 // negative: an error
	}{
		{"0", 0},
		{"65536", 65536},
		{"64K", 64 << 10},
		{"64k", 64 << 10},
		{"64M", 64 << 20},
		{"64MiB", 64 << 20},
		{"64 MiB", 64 << 20},
		{"64MB", 64e6},
		{"1.5GiB", 3 << 29},
		{"1.5G", 3 << 29},
		{"2T", 2 << 40},
		{"1GB", 1e9},
		{"", -1},
		{"M", -1},
		{"-1", -1},
		{"-1M", -1},
		{"lots", -1},
		{"NaN", -1},
		{"9E", -1},
		{"64Q", -1},
		{"99999999999999999999", -1},
	}
	for _, tt := range tests {
		got, err := ParseSize(tt.in)
		if (err != nil) != (tt.want < 0) || (err == nil && got != tt.want) {
			t.Errorf("parseSize(%q) = %d, %v; want %d", tt.in, got, err, tt.want)
		}
	}
}

// A size never comes out negative, whatever is typed.
func TestParseSizeNeverNegative(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringMatching(`[-+]?[0-9]{0,25}\.?[0-9]{0,5} ?[kKmMgGtTpPeE]?i?[bB]?`).Draw(t, "size")
		if n, err := ParseSize(s); n < 0 {
			t.Fatalf("parseSize(%q) = %d, %v", s, n, err)
		}
	})
}

func TestPrintable(t *testing.T) {
	tests := []struct{ in, want string }{
		{"plain", "plain"},
		{"Größe – 傘", "Größe – 傘"},
		{"\x1b[2J", `\x1b[2J`},
		{"a\nb\tc\r", `a\nb\tc\x0d`},
		{"\u202egpj.exe", `\u202egpj.exe`},
		{"\xff\xfe", `\xff\xfe`},
		{"\uFFFD", "\uFFFD"},
	}
	for _, tt := range tests {
		if got := Printable(tt.in); got != tt.want {
			t.Errorf("printable(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestPrintableHasNoControls(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"))
		got := Printable(in)
		if i := strings.IndexFunc(got, func(r rune) bool { return !unicode.IsPrint(r) && r != unicode.ReplacementChar }); i >= 0 {
			t.Fatalf("printable(%q) = %q: byte %d does not print", in, got, i)
		}
	})
}
