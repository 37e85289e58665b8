package conn

import (
	"slices"
	"testing"

	"torrentfs/swarm/wire"
)

// A run is what follows each other in a piece and in the queue; messages come
// before it, and what is withdrawn is not in it.
func TestOutboxRuns(t *testing.T) {
	const b = blockSize
	var o outbox
	o.init()
	for _, u := range []Request{{1, 0, b}, {1, b, b}, {1, 2 * b, b}, {1, 4 * b, b}, {2, 5 * b, b}, {2, 6 * b, 100}, {2, 7 * b, b}} {
		o.addUpload(u)
	}
	o.add(wire.AppendUnchoke)
	if !o.withdraw(Request{1, 2 * b, b}) {
		t.Error("a queued block was not there")
	}
	for i, want := range [][]Request{
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

// How long a run may be is learned from how long the last one took.
func TestRunLength(t *testing.T) {
	w := blockWriter{c: &Conn{}}
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
