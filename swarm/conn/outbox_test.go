package conn

import (
	"bytes"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// An outbox gives out what was put into it, in order and once, but for what was withdrawn; what is
// put back comes first again, and a run is of one piece and without a gap.
func TestOutboxAgainstAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var o outbox
		o.init()
		var messages []byte
		var uploads []Request
		request := func() Request {
			return Request{rapid.IntRange(0, 1).Draw(t, "piece"), blockSize * rapid.IntRange(0, 3).Draw(t, "block"), blockSize}
		}
		next := byte(0)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0:
				next++
				messages = append(messages, next)
				o.add(func(b []byte) []byte { return append(b, next) })
			case 1:
				r := request()
				uploads = append(uploads, r)
				o.addUpload(r)
			case 2:
				r := request()
				i := slices.Index(uploads, r)
				if got := o.withdraw(r); got != (i >= 0) {
					t.Fatalf("withdraw %v: %v, of %v", r, got, uploads)
				}
				if i >= 0 {
					uploads = slices.Delete(uploads, i, i+1)
				}
			case 3:
				most := rapid.IntRange(1, maxRun).Draw(t, "most")
				msgs, run, _ := o.take(nil, nil, most)
				if !bytes.Equal(msgs, messages) || len(run) > most || !slices.Equal(run, uploads[:len(run)]) || (len(run) == 0) != (len(uploads) == 0) {
					t.Fatalf("took %v and %v of %v and %v", msgs, run, messages, uploads)
				}
				for i := 1; i < len(run); i++ {
					if run[i].Piece != run[0].Piece || run[i].Begin != run[i-1].Begin+run[i-1].Length {
						t.Fatalf("no run: %v", run)
					}
				}
				if rapid.Bool().Draw(t, "put back") {
					o.putBack(msgs, run)
				} else {
					messages, uploads = nil, uploads[len(run):]
				}
			case 4:
				if got := o.withdrawAll(); !slices.Equal(got, uploads) {
					t.Fatalf("withdrew %v of %v", got, uploads)
				}
				uploads = nil
			case 5:
				o.bound(rapid.IntRange(0, 10).Draw(t, "most"))
			}
			if o.waiting() != len(messages) || o.queued() != len(uploads) {
				t.Fatalf("%d bytes and %d blocks wait, want %d and %d", o.waiting(), o.queued(), len(messages), len(uploads))
			}
		}
	})
}
