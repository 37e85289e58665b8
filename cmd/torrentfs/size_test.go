package main

import (
	"testing"

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
		got, err := parseSize(tt.in)
		if (err != nil) != (tt.want < 0) || (err == nil && got != tt.want) {
			t.Errorf("parseSize(%q) = %d, %v; want %d", tt.in, got, err, tt.want)
		}
	}
}

func TestRate(t *testing.T) {
	tests := []struct {
		in   string
		want rate
		bad  bool
	}{
		{in: "off"},
		{in: "unlimited"},
		{in: "0"},
		{in: "2M/s", want: 2 << 20},
		{in: "2M", want: 2 << 20},
		{in: "1.5MiB/s", want: 3 << 19},
		{in: "500KB/s", want: 500e3},
		{in: "fast", bad: true},
		{in: "2M/h", bad: true},
		{in: "/s", bad: true},
	}
	for _, tt := range tests {
		var got rate
		err := got.UnmarshalText([]byte(tt.in))
		if (err != nil) != tt.bad || got != tt.want {
			t.Errorf("rate %q = %d, %v; want %d, bad %v", tt.in, got, err, tt.want, tt.bad)
		}
	}
}

// A size never comes out negative, whatever is typed.
func TestParseSizeNeverNegative(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringMatching(`[-+]?[0-9]{0,25}\.?[0-9]{0,5} ?[kKmMgGtTpPeE]?i?[bB]?`).Draw(t, "size")
		if n, err := parseSize(s); n < 0 {
			t.Fatalf("parseSize(%q) = %d, %v", s, n, err)
		}
	})
}

// A memory limit shrinks what can be shrunk, and nothing grows by it.
func TestMemoryShares(t *testing.T) {
	for _, c := range []struct {
		cache, limit       size
		wantCache, wantAir int64
	}{
		{cache: 64 << 20, limit: 0, wantCache: 64 << 20, wantAir: 0},
		{cache: 64 << 20, limit: 64 << 20, wantCache: 16 << 20, wantAir: 16 << 20},
		{cache: 8 << 20, limit: 64 << 20, wantCache: 8 << 20, wantAir: 16 << 20},
		{cache: 64 << 20, limit: 4 << 30, wantCache: 64 << 20, wantAir: 64 << 20},
	} {
		p := peerFlags{MemoryCache: c.cache, MemoryLimit: c.limit}
		if a, b := p.shares(); a != c.wantCache || b != c.wantAir {
			t.Errorf("cache %v, limit %v: %d and %d, want %d and %d", c.cache, c.limit, a, b, c.wantCache, c.wantAir)
		}
	}
}
