package library

import (
	"slices"
	"testing"

	"torrentfs/metainfo"
	"torrentfs/net/guard"
)

func TestLeaveOutLocal(t *testing.T) {
	trust, err := guard.ParseTrust("10.0.0.5")
	if err != nil {
		t.Fatal(err)
	}
	const public, own = "http://tracker.example/announce", "http://10.0.0.5/announce"
	mi := &metainfo.MetaInfo{
		Trackers:  [][]string{{"http://127.0.0.1/announce", public}, {"udp://[::1]:80"}, {own, "http://localhost./announce"}},
		WebSeeds:  []string{"http://192.168.1.1/a.bin", "http://w.example/"},
		HTTPSeeds: []string{"http://[fe80::1]/x"},
	}
	left := leaveOutLocal(mi, trust)
	if len(left) != 5 || len(mi.Trackers) != 2 || !slices.Equal(mi.Trackers[0], []string{public}) || !slices.Equal(mi.Trackers[1], []string{own}) ||
		!slices.Equal(mi.WebSeeds, []string{"http://w.example/"}) || len(mi.HTTPSeeds) != 0 {
		t.Errorf("left out %q of %+v", left, mi)
	}
	m := &metainfo.Magnet{Trackers: []string{public, "http://169.254.169.254/announce"}, Sources: []string{"http://127.0.0.1/a.torrent"}}
	if left := leaveOutLocalLink(m, nil); len(left) != 2 || !slices.Equal(m.Trackers, []string{public}) || len(m.Sources) != 0 {
		t.Errorf("left out %q of %+v", left, m)
	}
}
