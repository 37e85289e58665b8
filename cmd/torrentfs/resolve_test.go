package main

import (
	"errors"
	"strings"
	"testing"

	"torrentfs/library"
)

func TestSeekingText(t *testing.T) {
	works, fails, waits := library.TrackerStatus{Working: true}, library.TrackerStatus{Err: errors.New("no")}, library.TrackerStatus{}
	for want, s := range map[string]library.Seeking{
		"nobody is asked for peers":                 {},
		"1 tracker, which answers":                  {Trackers: []library.TrackerStatus{works}},
		"1 tracker, which does not answer":          {Trackers: []library.TrackerStatus{fails}},
		"2 trackers, none answers":                  {Trackers: []library.TrackerStatus{fails, waits}},
		"3 trackers, 2 answering":                   {Trackers: []library.TrackerStatus{works, works, fails}},
		"DHT with 0 nodes":                          {DHT: true},
		"1 tracker, which answers, DHT with 1 node": {Trackers: []library.TrackerStatus{works}, DHT: true, DHTNodes: 1},
		"DHT with 7 nodes, local network":           {DHT: true, DHTNodes: 7, Local: true},
	} {
		if got := strings.Join(seekingText(s), ", "); got != want {
			t.Errorf("%+v is %q, want %q", s, got, want)
		}
	}
}

func TestTrackerTrouble(t *testing.T) {
	fails := func(n int) (all []library.TrackerStatus) {
		for range n {
			all = append(all, library.TrackerStatus{Working: true}, library.TrackerStatus{Err: errors.New("refused")})
		}
		return all
	}
	for n, want := range []string{"", "refused", "refused; refused", "refused; refused; refused", "refused; refused; refused; and 1 more"} {
		if got := trackerTrouble(fails(n)); got != want {
			t.Errorf("%d failures: %q, want %q", n, got, want)
		}
	}
}

func TestMetadataText(t *testing.T) {
	for want, p := range map[string]library.MetadataProgress{
		"looking for the metadata of x  no peer known yet":                            {},
		"looking for the metadata of x  1 peer known, none answers yet":               {Known: 1},
		"looking for the metadata of x  3 peers known, 2 connected":                   {Known: 3, Connected: 2},
		"looking for the metadata of x  3 peers known, 2 connected  16 KiB of 40 KiB": {Known: 3, Connected: 2, Size: 40 << 10, Received: 16 << 10},
	} {
		if got := metadataText("x", p); got != want {
			t.Errorf("%+v is %q, want %q", p, got, want)
		}
	}
}
