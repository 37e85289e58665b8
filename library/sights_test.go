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

// electorate is a seeker that hears where trackers see us.
type electorate struct {
	oneSeeker
	sights chan string
}

func (e electorate) SeenAt(by string, self netip.Addr) { e.sights <- by + " " + self.String() }

// What a tracker says of our address (BEP 24) reaches who seeks peers at that
// time, and who does next: the torrent whose metadata was sought.
func TestTrackersSayWhereWeAre(t *testing.T) {
	tracker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "d11:external ip4:%s8:intervali1800e5:peers6:\x08\x08\x08\x08\x00\x09e", []byte{9, 8, 7, 6})
	}))
	defer tracker.Close()
	l := openLibrary(t, t.TempDir())
	r := l.newSources(metainfo.InfoHash{HasV1: true}, "x", [][]string{{tracker.URL + "/announce"}}, false, sourceOptions{})
	defer r.close()
	for _, who := range []string{"the search", "the torrent"} {
		e := electorate{make(oneSeeker, 1), make(chan string, 1)}
		ctx, cancel := context.WithCancel(deadline(t))
		go func() {
			if got, want := <-e.sights, "127.0.0.1 9.8.7.6"; got != want {
				t.Errorf("%s hears %q, want %q", who, got, want)
			}
			cancel()
		}()
		_ = r.Run(ctx, e)
		if ctx.Err() != context.Canceled {
			t.Errorf("%s heard nothing", who)
		}
	}
}
