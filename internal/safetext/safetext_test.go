package safetext

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestEscape(t *testing.T) {
	for in, want := range map[string]string{
		"":                          "",
		"plain":                     "plain",
		"Größe – 傘 ❤️ क्षि":         "Größe – 傘 ❤️ क्षि",
		`c:\x1b`:                    `c:\x1b`,
		"\x1b[2J\x07":               `\x1b[2J\x07`,
		"\x1b]52;c;eA==\x1b\\":      `\x1b]52;c;eA==\x1b\`,
		"a\nb\tc\r\x7f\x00":         `a\nb\tc\x0d\x7f\x00`,
		"\u009b2J\u0085":            `\u009b2J\u0085`,
		"\x9b2J":                    `\x9b2J`,
		"\u202egpj.exe\u2066\u061c": `\u202egpj.exe\u2066\u061c`,
		"a\u2028b\u2029":            `a\u2028b\u2029`,
		"\u200b\u2060\ufeff\u00ad":  `\u200b\u2060\ufeff\u00ad`,
		"\u034f\u115f\u3164\u17b5":  `\u034f\u115f\u3164\u17b5`,
		"\U000e0041\U000e0100":      `\U000e0041\U000e0100`,
		"\u00a0\u3000":              `\u00a0\u3000`,
		"\ue000\uffff":              `\ue000\uffff`,
		"\xff\xfe\xe2\x80":          `\xff\xfe\xe2\x80`,
		"\uFFFD\xff":                "\uFFFD" + `\xff`,
	} {
		if got := Escape(in); got != want {
			t.Errorf("Escape(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestClip(t *testing.T) {
	for _, tt := range []struct {
		in   string
		max  int
		want string
	}{
		{"abc", 3, "abc"},
		{"abcd", 3, "abc…"},
		{"aüb", 2, "a…"},
		{"\x1b\x1b", 1, `\x1b…`},
		{"\xff\xff\xff", 2, `\xff\xff…`},
		{"\x80\x80", 1, "…"},
		{"x", 0, "…"},
	} {
		if got := Clip(tt.in, tt.max); got != tt.want {
			t.Errorf("Clip(%q, %d) = %q, want %q", tt.in, tt.max, got, tt.want)
		}
	}
}

// checkShown fails if text holds what a terminal does not show as it is, by
// rules of its own.
func checkShown(t interface{ Fatalf(string, ...any) }, in, text string) {
	if !utf8.ValidString(text) {
		t.Fatalf("of %q: %q is no UTF-8", in, text)
	}
	for _, r := range text {
		if r == 0xfe0e || r == 0xfe0f {
			continue
		}
		if unicode.In(r, unicode.C, unicode.Zl, unicode.Zp, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) ||
			r != ' ' && unicode.Is(unicode.Zs, r) {
			t.Fatalf("of %q: %q has %U", in, text, r)
		}
	}
}

// For any bytes, what comes out is shown as it is, stays so, and is not longer than each byte
// needs.
func FuzzEscape(f *testing.F) {
	f.Add("\x1b]0;t\x07\u202e\u2028\x9b\xff\u3164ok")
	f.Add(`\x1b`)
	f.Fuzz(func(t *testing.T, s string) {
		got := Escape(s)
		checkShown(t, s, got)
		if again := Escape(got); again != got {
			t.Fatalf("Escape(%q) = %q, and that %q", s, got, again)
		}
		if len(got) > 4*len(s) {
			t.Fatalf("%d bytes became %d", len(s), len(got))
		}
		checkShown(t, s, Clip(s, len(s)/2))
	})
}

// A program that decodes the JSON gets the very text; who prints it sees
// nothing harmful.
func TestEscapeJSON(t *testing.T) {
	runes := rapid.OneOf(rapid.Rune(), rapid.SampledFrom([]rune("\x1b\x7f\u009b\u202e\u2028\u200b\ufeff\u3164\U000e0041\ufe0f\"\\")))
	rapid.Check(t, func(t *rapid.T) {
		in := map[string]string{rapid.StringOf(runes).Draw(t, "key"): rapid.StringOf(runes).Draw(t, "value")}
		for _, html := range []bool{false, true} {
			var b bytes.Buffer
			enc := json.NewEncoder(JSONWriter(&b))
			enc.SetIndent("", "  ")
			enc.SetEscapeHTML(html)
			if err := enc.Encode(in); err != nil {
				t.Fatal(err)
			}
			checkShown(t, "JSON", strings.ReplaceAll(b.String(), "\n", ""))
			var out map[string]string
			if err := json.Unmarshal(b.Bytes(), &out); err != nil {
				t.Fatalf("%s: %v", b.Bytes(), err)
			}
			for k, v := range in {
				if out[k] != v {
					t.Fatalf("%q: %q came back as %q", k, v, out[k])
				}
			}
		}
	})
}

func TestLineWriter(t *testing.T) {
	var b bytes.Buffer
	w := LineWriter(&b)
	in := "a\u200bb\n\x1b[2J\r\nend"
	if n, err := w.Write([]byte(in)); n != len(in) || err != nil {
		t.Error(n, err)
	}
	if want := "a\\u200bb\n\\x1b[2J\\x0d\nend"; b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
}
