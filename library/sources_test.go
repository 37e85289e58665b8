package library

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"torrentfs/metainfo"
)

// electorate is a sink that hears where trackers see us.
type electorate struct {
	oneSink
	sights chan string
}

func (e electorate) SeenAt(by string, self netip.Addr) { e.sights <- by + " " + self.String() }

// What a tracker says of our address (BEP 24) reaches what seeks peers.
func TestTrackersSayWhereWeAre(t *testing.T) {
	tracker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "d11:external ip4:%s8:intervali1800e5:peers6:\x08\x08\x08\x08\x00\x09e", []byte{9, 8, 7, 6})
	}))
	defer tracker.Close()
	l := openLibrary(t, t.TempDir())
	s := l.newSources(metainfo.InfoHash{HasV1: true}, "x", [][]string{{tracker.URL + "/announce"}}, false, false)
	e := electorate{make(oneSink, 1), make(chan string, 1)}
	ctx, cancel := context.WithCancel(deadline(t))
	go func() {
		if got, want := <-e.sights, "127.0.0.1 9.8.7.6"; got != want {
			t.Errorf("heard %q, want %q", got, want)
		}
		cancel()
	}()
	_ = s.trackers.Run(ctx, e)
	if ctx.Err() != context.Canceled {
		t.Error("heard nothing")
	}
}
