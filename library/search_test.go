package library

import (
	"context"
	"testing"
	"time"

	"torrentfs/metainfo"
)

// While metadata is sought it can be seen whom it is asked of, and how that goes.
func TestSeekingShowsWhomItAsks(t *testing.T) {
	var events eventLog
	works := events.serve(t)
	mi, _ := testTorrent(t, "")
	l := openLibrary(t, t.TempDir())
	if _, ok := l.Seeking(mi.Info.Hash); ok {
		t.Error("sought before anybody wanted it")
	}
	ctx, cancel := context.WithCancel(deadline(t))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = l.Resolve(ctx, &metainfo.Magnet{Hash: mi.Info.Hash, Trackers: []string{works, "http://127.0.0.1:1/announce"}}, ResolveOptions{})
	}()
	seen := func() bool {
		s, ok := l.Seeking(mi.Info.Hash)
		working, failed := 0, 0
		for _, tr := range s.Trackers {
			switch {
			case tr.Working && tr.Err == nil && tr.URL == works:
				working++
			case tr.Err != nil:
				failed++
			}
		}
		return ok && working == 1 && failed == 1 && !s.DHT && !s.Local
	}
	for !seen() && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	if ctx.Err() != nil {
		s, _ := l.Seeking(mi.Info.Hash)
		t.Errorf("at the end: %+v", s)
	}
	cancel()
	<-ended
	if _, ok := l.Seeking(mi.Info.Hash); ok {
		t.Error("still sought")
	}
}
