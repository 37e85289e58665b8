package main

import "testing"

func TestParseMountinfo(t *testing.T) {
	tests := []struct {
		line, point, kind string
		ok                bool
	}{
		{
			`36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`,
			"/mnt2", "ext3", true,
		},
		{
			`90 28 0:45 / /mnt/a\040film\134 ro,nosuid - fuse.torrentfs torrentfs ro`,
			`/mnt/a film\`, "fuse.torrentfs", true,
		},
		{"36 35 98:0 / /mnt2 rw", "", "", false},
		{"36 35 - ext3", "", "", false},
		{"", "", "", false},
	}
	for _, tt := range tests {
		point, kind, ok := parseMountinfo(tt.line)
		if point != tt.point || kind != tt.kind || ok != tt.ok {
			t.Errorf("parseMountinfo(%q) = %q, %q, %v", tt.line, point, kind, ok)
		}
	}
}
