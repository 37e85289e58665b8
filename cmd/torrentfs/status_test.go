package main

import "testing"

func TestShareRight(t *testing.T) {
	tests := []struct {
		right, total int64
		want         string
	}{
		{1 << 40, 1 << 40, "all 1.0 TiB right"},
		{1<<40 - 4<<20, 1 << 40, "4.0 MiB of 1.0 TiB wrong"},
		{0, 5, "none of 5 B right"},
		{0, 0, "all 0 B right"},
	}
	for _, tt := range tests {
		if got := shareRight(tt.right, tt.total); got != tt.want {
			t.Errorf("%d of %d: %q, want %q", tt.right, tt.total, got, tt.want)
		}
	}
}
