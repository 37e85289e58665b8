package conn

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// A queue does what a slice does, and its room follows what is in it.
func TestQueueFollowsASlice(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 7))
		var q queue[*int]
		var want []*int
		pushes := 2 + r.IntN(7) // of 10
		for i := range 3000 {
			if i%1000 == 999 {
				pushes = 10 - pushes
			}
			switch {
			case r.IntN(10) < pushes:
				v := new(int)
				q.push(v)
				want = append(want, v)
			case len(want) == 0:
			case r.IntN(4) == 0:
				i := r.IntN(len(want))
				q.remove(i)
				want = slices.Delete(want, i, i+1)
			default:
				if v := q.pop(); v != want[0] {
					t.Fatal("another one came first")
				}
				want = want[1:]
			}
			if !slices.Equal(q.all(), want) || q.len() != len(want) {
				t.Fatalf("step %d: %d are in the queue, want %d", i, q.len(), len(want))
			}
			if room := cap(q.items); room > max(128, 8*len(want)) {
				t.Fatalf("room for %d, %d are in the queue", room, len(want))
			}
			for _, v := range q.items[:q.head] {
				if v != nil {
					t.Fatal("what was taken out is still held")
				}
			}
		}
	}
}

// A peer that keeps its queue of requests filled costs no more with each request.
func TestUploadQueueStaysSmall(t *testing.T) {
	var o outbox
	o.init()
	for i := range 200 {
		o.addUpload(Request{Piece: i, Length: blockSize})
	}
	var blocks []Request
	for i := range 100_000 {
		_, blocks, _ = o.take(nil, blocks[:0], 1)
		if len(blocks) != 1 || blocks[0].Piece != i {
			t.Fatalf("%v came, want piece %d", blocks, i)
		}
		o.addUpload(Request{Piece: i + 200, Length: blockSize})
	}
	if n := cap(o.uploads.items); n > 2000 {
		t.Errorf("room for %d requests, 200 wait", n)
	}
	if !o.withdraw(Request{Piece: 100_100, Length: blockSize}) || o.withdraw(Request{Piece: 5, Length: blockSize}) || o.queued() != 199 {
		t.Errorf("%d are queued after one was withdrawn of 200", o.queued())
	}
	if n := len(o.withdrawAll()); n != 199 || o.queued() != 0 {
		t.Errorf("%d were withdrawn, %d stay", n, o.queued())
	}
}

// A peer that once made us write much does not make us keep the room for it.
func TestOutboxGivesUpRoom(t *testing.T) {
	var o outbox
	o.init()
	o.add(func(b []byte) []byte { return append(b, make([]byte, 1<<20)...) })
	buf, _, _ := o.take(nil, nil, 1)
	o.take(buf, nil, 1)
	if n := cap(o.messages); n > keptMessages {
		t.Errorf("%d bytes of room are kept", n)
	}
}
