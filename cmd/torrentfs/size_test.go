package main

import (
	"testing"
)

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
