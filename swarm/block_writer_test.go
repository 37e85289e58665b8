package swarm

import (
	"slices"
	"testing"
	"time"

	"torrentfs/internal/simnet"
	"torrentfs/swarm/wire"
)

// A run is what follows each other in a piece and in the queue; messages come
// before it, and what is withdrawn is not in it.
func TestOutboxRuns(t *testing.T) {
	const b = blockSize
	var o outbox
	o.init()
	for _, u := range []upload{{1, 0, b}, {1, b, b}, {1, 2 * b, b}, {1, 4 * b, b}, {2, 5 * b, b}, {2, 6 * b, 100}, {2, 7 * b, b}} {
		o.addUpload(u)
	}
	o.add(wire.AppendUnchoke)
	if !o.withdraw(upload{1, 2 * b, b}) {
		t.Error("a queued block was not there")
	}
	for i, want := range [][]upload{
		{{1, 0, b}}, // no more were wanted
		{{1, b, b}},
		{{1, 4 * b, b}},
		{{2, 5 * b, b}, {2, 6 * b, 100}},
		{{2, 7 * b, b}},
		{},
	} {
		most := maxRun
		if i == 0 {
			most = 1
		}
		messages, run, closed := o.take(nil, nil, most)
		if !slices.Equal(run, want) || closed || (len(messages) > 0) != (i == 0) {
			t.Errorf("take %d: %v, want %v; %d bytes of messages, closed %v", i, run, want, len(messages), closed)
		}
	}
}

// A peer gets runs as long as its connection is fast, and single blocks where
// it is not: then a message waits for one block at most.
func TestRunsFollowTheConnection(t *testing.T) {
	for name, link := range map[string]simnet.Link{
		"fast": {Delay: ms, Up: 10_000 * mbit},
		"slow": {Delay: 10 * ms, Up: mbit, Down: mbit},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, 4<<20, 256<<10, Config{}, func(w *world) {
				w.store = fullStore(w.info, w.data)
				w.add(TorrentConfig{})
				l := w.connect(link, w.leecher("leecher"))
				select {
				case <-l.Complete():
				case <-time.After(10 * time.Minute):
					t.Errorf("the leecher has %d bytes of %d", l.Record().Downloaded, w.info.Size())
				}
				if bad := l.Record().Errors; len(bad) > 0 {
					t.Error(bad)
				}
			})
		})
	}
}

// How long a run may be is learned from how long the last one took.
func TestRunLength(t *testing.T) {
	w := blockWriter{c: &peerConn{t: &Torrent{s: &Session{}}}}
	if n := w.runLength(); n != 1 {
		t.Errorf("the first run may have %d blocks", n)
	}
	for range 5 {
		w.learn(w.runLength(), 0)
	}
	if n := w.runLength(); n != maxRun {
		t.Errorf("after five that went at once: %d blocks", n)
	}
	w.learn(1, 0) // there was no more to send
	if n := w.runLength(); n != maxRun {
		t.Errorf("after a single block: %d", n)
	}
	for range 5 {
		w.learn(w.runLength(), 2*fastRun)
	}
	if n := w.runLength(); n != 1 {
		t.Errorf("after five that took long: %d blocks", n)
	}
}
