package bencode

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestDecode(t *testing.T) {
	in := "d1:ai-5e1:bl1:xi9223372036854775807ee1:cd1:dleeepayload"
	v, n, err := Decode([]byte(in), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	want := Dict{
		"a": int64(-5),
		"b": []any{"x", int64(9223372036854775807)},
		"c": map[string]any{"d": []any{}},
	}
	if d := cmp.Diff(want, v); d != "" {
		t.Error(d)
	}
	if got := in[n:]; got != "payload" {
		t.Errorf("rest %q", got)
	}
	if _, _, err := DecodeDict([]byte("i1e"), Limits{}); !errors.Is(err, ErrType) {
		t.Errorf("DecodeDict of an integer: %v", err)
	}
	if _, _, err := DecodeDict(nil, Limits{}); !errors.Is(err, ErrTruncated) {
		t.Errorf("DecodeDict of nothing: %v", err)
	}
}

// The inputs that break the library must not reach it.
func TestDecodeIsGuarded(t *testing.T) {
	for _, in := range []string{
		"-1:", "2000000000000000000:", "9999999999:",
		strings.Repeat("l", 3_000_000), strings.Repeat("d0:", 1_000_000),
		"i" + strings.Repeat("1", 1_000_000) + "e",
	} {
		if _, _, err := Decode([]byte(in), Limits{}); err == nil {
			t.Errorf("Decode(%.20q…) succeeded", in)
		}
	}
}

func TestEncode(t *testing.T) {
	got, err := Encode(map[string]any{
		"z": int64(1), "a": "s", "m": []byte{0, 255}, "l": []string{"x", ""},
		"d": Dict{"k": uint16(65535), "j": 7}, "L": []any{int32(-1), map[string]any{}},
	})
	want := "d1:Lli-1edee1:a1:s1:dd1:ji7e1:ki65535ee1:ll1:x0:e1:m2:\x00\xff1:zi1ee"
	if err != nil || string(got) != want {
		t.Errorf("Encode = %q, %v; want %q", got, err, want)
	}
	for _, bad := range []any{nil, true, 1.5, uint64(1), new(int), [2]byte{}, struct{}{}, []any{nil}, Dict{"x": true}} {
		if _, err := Encode(map[string]any{"k": bad}); !errors.Is(err, ErrType) {
			t.Errorf("Encode of %T: %v", bad, err)
		}
	}
}

func TestDictGetters(t *testing.T) {
	d := Dict{"i": int64(5), "s": "str", "l": []any{"a", "b"}, "d": map[string]any{"x": int64(1)}, "m": []any{"a", int64(1)}}
	if v, err := d.Int("i"); v != 5 || err != nil {
		t.Error(v, err)
	}
	if v, err := d.String("s"); v != "str" || err != nil {
		t.Error(v, err)
	}
	if v, err := d.Strings("l"); !slices.Equal(v, []string{"a", "b"}) || err != nil {
		t.Error(v, err)
	}
	if v, err := d.Dict("d"); v["x"] != int64(1) || err != nil {
		t.Error(v, err)
	}
	if v, err := d.IntIn("i", 0, 5); v != 5 || err != nil {
		t.Error(v, err)
	}
	if v, ok := Get[string](d, "i"); ok {
		t.Error(v)
	}
	if v, ok := Get[int64](d, "i"); !ok || v != 5 {
		t.Error(v, ok)
	}
	if d.Has("none") || !d.Has("i") {
		t.Error("Has")
	}
	for name, tt := range map[string]struct {
		err  func() error
		want error
		text string
	}{
		"missing":  {func() error { _, err := d.Int("none"); return err }, ErrMissing, `key "none": missing`},
		"type":     {func() error { _, err := d.Int("s"); return err }, ErrType, `key "s": wrong type: is a string, not an integer`},
		"range":    {func() error { _, err := d.IntIn("i", 0, 4); return err }, ErrRange, `key "i": 5 is out of range (0 to 4)`},
		"list":     {func() error { _, err := d.List("d"); return err }, ErrType, `key "d": wrong type: is a dictionary, not a list`},
		"dict":     {func() error { _, err := d.Dict("l"); return err }, ErrType, `key "l": wrong type: is a list, not a dictionary`},
		"elements": {func() error { _, err := d.Strings("m"); return err }, ErrType, `key "m": element 1: wrong type: is an integer, not a string`},
	} {
		err := tt.err()
		if !errors.Is(err, tt.want) || err.Error() != tt.text {
			t.Errorf("%s: %v; want %s", name, err, tt.text)
		}
	}
}

func TestSpan(t *testing.T) {
	in := []byte("d1:ad4:infoi1ee4:infod1:zi1e1:ai2ee3:zzz0:etail")
	from, to, err := Span(in, "info")
	if err != nil || string(in[from:to]) != "d1:zi1e1:ai2ee" {
		t.Errorf("Span = %q, %v", in[from:to], err)
	}
	if _, _, err := Span(in, "nope"); !errors.Is(err, ErrMissing) {
		t.Errorf("missing: %v", err)
	}
	if _, _, err := Span([]byte("le"), "info"); !errors.Is(err, ErrType) {
		t.Errorf("list: %v", err)
	}
}

// A cursor over bytes that no scan has seen errs, and never leaves them.
func TestCursorOnBadData(t *testing.T) {
	for _, in := range []string{"", "d", "l", "i", "i1", "5:a", "di1e", "d1:a", "e", "lx", "99999999999999999999:", "d1:ai1e"} {
		if raw, err := NewCursor([]byte(in)).Skip(); err == nil {
			t.Errorf("Skip(%q) = %q", in, raw)
		}
		if in == "" || in[0] != 'd' {
			continue
		}
		if _, _, err := Span([]byte(in), "zz"); err == nil {
			t.Errorf("Span(%q) succeeded", in)
		}
	}
}

func TestCursorWalk(t *testing.T) {
	c := NewCursor([]byte("d1:al1:xi3ee1:bi4ee"))
	var got []any
	note := func(v any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, v)
	}
	if err := c.OpenDict(); err != nil {
		t.Fatal(err)
	}
	k, err := c.Bytes()
	note(string(k), err)
	if err := c.OpenList(); err != nil {
		t.Fatal(err)
	}
	for c.More() {
		if c.Kind() == String {
			b, err := c.Bytes()
			note(string(b), err)
		} else {
			v, err := c.Int()
			note(v, err)
		}
	}
	for c.More() {
		k, err := c.Bytes()
		note(string(k), err)
		raw, err := c.Skip()
		note(string(raw), err)
	}
	if d := cmp.Diff([]any{"a", "x", int64(3), "b", "i4e"}, got); d != "" {
		t.Error(d)
	}
	if _, err := NewCursor([]byte("i1e")).Bytes(); !errors.Is(err, ErrType) {
		t.Error(err)
	}
}

// What Encode writes, Scan accepts as sorted and Decode gives back.
func TestRoundTrip(t *testing.T) {
	value := rapid.Deferred(func() *rapid.Generator[any] { return valueOf(3) })
	rapid.Check(t, func(t *rapid.T) {
		d := rapid.MapOfN(rapid.String(), value, 0, 5).Draw(t, "dict")
		raw, err := Encode(d)
		if err != nil {
			t.Fatal(err)
		}
		if err := ScanAll(raw, Limits{Sorted: true}); err != nil {
			t.Fatal(err)
		}
		got, n, err := Decode(raw, Limits{})
		if err != nil || n != len(raw) {
			t.Fatal(n, err)
		}
		if diff := cmp.Diff(Dict(d), got); diff != "" {
			t.Fatal(diff)
		}
	})
}

func valueOf(depth int) *rapid.Generator[any] {
	gens := []*rapid.Generator[any]{
		rapid.Int64().AsAny(),
		rapid.Custom(func(t *rapid.T) string { return string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")) }).AsAny(),
	}
	if depth > 0 {
		gens = append(gens,
			rapid.SliceOfN(valueOf(depth-1), 0, 4).AsAny(),
			rapid.MapOfN(rapid.String(), valueOf(depth-1), 0, 4).AsAny())
	}
	return rapid.OneOf(gens...)
}
