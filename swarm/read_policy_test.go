package swarm

import (
	"context"
	"errors"
	"testing"
	"time"
)

// owner gives all reads one policy, and counts what it hears.
type owner struct {
	policy      ReadPolicy
	waits, goOn int
}

func (o *owner) ReadPolicy(any) ReadPolicy      { return o.policy }
func (o *owner) PeersExpected() bool            { return false }
func (o *owner) ReadsWait(_ BlockedRead, _ int) { o.waits++ }
func (o *owner) ReadsGoOn()                     { o.goOn++ }

// A read whose bytes do not come fails when its policy says so, and a second one of the same piece at once.
func TestReadsFailByTheirPolicy(t *testing.T) {
	for name, c := range map[string]struct {
		policy      ReadPolicy
		least, most time.Duration // that it waits
	}{
		"timeout":      {ReadPolicy{Timeout: 20 * time.Second}, 20 * time.Second, 21 * time.Second},
		"unreachable":  {ReadPolicy{Unreachable: 2 * time.Second, Settle: 6 * time.Second}, 8 * time.Second, 9 * time.Second},
		"it may block": {ReadPolicy{}, time.Minute, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, 1<<20, 64<<10, Config{}, func(w *world) {
				o := &owner{policy: c.policy}
				tor := w.add(TorrentConfig{Reads: o})
				r := tor.NewReader("label")
				defer r.Close()
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				begun := time.Now()
				_, err := r.ReadAt(ctx, make([]byte, 10), 5)
				if took := time.Since(begun); took < c.least || took > c.most {
					t.Errorf("it waited %v, want %v to %v", took, c.least, c.most)
				}
				if n, _ := tor.BlockedReads(func(any) bool { return true }); n != 0 {
					t.Errorf("%d reads wait", n)
				}
				var gaveUp *UnavailableError
				if c.policy == (ReadPolicy{}) {
					if !errors.Is(err, context.DeadlineExceeded) {
						t.Error(err)
					}
					return
				}
				if !errors.As(err, &gaveUp) || gaveUp.Again || gaveUp.Reach.Piece != 0 || gaveUp.Offset != 5 {
					t.Fatal(err)
				}
				begun = time.Now()
				if _, err := r.ReadAt(ctx, make([]byte, 10), 100); !errors.As(err, &gaveUp) || !gaveUp.Again || time.Since(begun) != 0 {
					t.Errorf("the next one: %v after %v", err, time.Since(begun))
				}
				time.Sleep(time.Second)
				tor.call(func() {
					if o.waits == 0 || o.goOn != 1 {
						t.Errorf("the owner heard of long waits %d times, of their end %d times", o.waits, o.goOn)
					}
				})
			})
		})
	}
}
