package fs

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestHistoryTellsOrderFromSearch(t *testing.T) {
	const k = 128 << 10
	for name, c := range map[string]struct {
		offs []int64
		want []bool
	}{
		"in order":            {[]int64{0, k, 2 * k, 3 * k}, []bool{false, false, true, true}},
		"in order, reordered": {[]int64{0, 2 * k, k, 3 * k}, []bool{false, false, true, true}},
		"search":              {[]int64{0, 1 << 30, 5 << 20, 1 << 29}, []bool{false, false, false, false}},
		"seek and go on":      {[]int64{0, k, 2 * k, 1 << 30, 1<<30 + k, 1<<30 + 2*k}, []bool{false, false, true, false, false, true}},
	} {
		var y history
		for i, off := range c.offs {
			if got := y.note(off, k); got != c.want[i] {
				t.Errorf("%s: read %d: ordered %v", name, i, got)
			}
		}
	}
}

func TestBounceMemoryBouncesARangeOnce(t *testing.T) {
	in := new(inode)
	now := time.Unix(1000, 0)
	if !in.bounceOnce(0, 128<<10, now) {
		t.Error("first read was not bounced")
	}
	if in.bounceOnce(64<<10, 4<<10, now.Add(time.Second)) {
		t.Error("second read of the range was bounced")
	}
	if !in.bounceOnce(128<<10, 128<<10, now) {
		t.Error("the range after it was not bounced")
	}
	if !in.bounceOnce(0, 128<<10, now.Add(bounceMemoryTime)) {
		t.Error("the memory does not fade")
	}
	for i := range int64(3 * bounceMemorySize) {
		in.bounceOnce(i<<20, 1<<20, now.Add(bounceMemoryTime))
	}
	if len(in.bounced.ranges) != bounceMemorySize {
		t.Errorf("%d ranges are remembered", len(in.bounced.ranges))
	}
}

func TestReadContextEnds(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(cancel, closing, flushed chan struct{})
		want error
	}{
		"closing":   {func(_, closing, _ chan struct{}) { close(closing) }, ErrClosed},
		"flushed":   {func(_, _, flushed chan struct{}) { close(flushed) }, errReaderGone},
		"interrupt": {func(cancel, _, _ chan struct{}) { close(cancel) }, errInterrupted}, // no process has pid 0
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cancel, closing, flushed := make(chan struct{}), make(chan struct{}), make(chan struct{})
				ctx := newReadContext(0, cancel, closing, flushed)
				defer ctx.finish()
				child, stop := context.WithCancel(ctx)
				defer stop()
				if ctx.Err() != nil {
					t.Fatalf("ended at once: %v", ctx.Err())
				}
				c.end(cancel, closing, flushed)
				<-child.Done()
				if err := ctx.Err(); !errors.Is(err, c.want) || !errors.Is(err, context.Canceled) {
					t.Errorf("err %v, want %v", err, c.want)
				}
			})
		})
	}
}

// What is seen of the reader decides together with what the kernel told.
func TestReadContextLooksAtReader(t *testing.T) {
	for name, c := range map[string]struct {
		state                       readerState
		alone, interrupted, flushed bool
		want                        error // nil: it waits on
	}{
		"goes on":                          {state: readerGoesOn},
		"goes on, interrupted":             {state: readerGoesOn, alone: true, interrupted: true},
		"goes on, flushed by another":      {state: readerGoesOn, alone: true, flushed: true},
		"signal without interrupt":         {state: readerEnds, want: errInterrupted},
		"signal without interrupt, a page": {state: readerEnds, alone: true, want: errInterrupted},
		"signal and interrupt":             {state: readerEnds, alone: true, interrupted: true, want: errInterrupted},
		"gone":                             {state: readerGone, want: errReaderGone},
		"gone, a page":                     {state: readerGone, alone: true},
		"gone, a page, flushed":            {state: readerGone, alone: true, flushed: true, want: errReaderGone},
		"gone, a page, interrupted":        {state: readerGone, alone: true, interrupted: true, want: errInterrupted},
		"unknown":                          {state: readerUnknown, want: errUnseen},
		"unknown, a page":                  {state: readerUnknown, alone: true},
		"unknown, a page, flushed":         {state: readerUnknown, alone: true, flushed: true},
		"unknown, a page, interrupted":     {state: readerUnknown, alone: true, interrupted: true, want: errInterrupted},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cancel, flushed := make(chan struct{}), make(chan struct{})
				ctx := newReadContext(7, cancel, make(chan struct{}), flushed)
				ctx.foreground, ctx.stateOf = c.alone, func(uint32) readerState { return c.state }
				defer ctx.finish()
				done := ctx.Done()
				if c.interrupted {
					close(cancel)
				}
				if c.flushed {
					close(flushed)
				}
				select {
				case <-done:
				case <-time.After(10 * time.Second):
				}
				if err := ctx.Err(); !errors.Is(err, c.want) {
					t.Errorf("err %v, want %v", err, c.want)
				}
			})
		})
	}
}

// Many readers of whom nothing is heard cost no more than a thousand looks per second together.
func TestIdleLooksAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const readers = 5000
		var waiting, looks atomic.Int64
		waiting.Store(readers)
		closing := make(chan struct{})
		var all []*readContext
		for range readers {
			ctx := newReadContext(7, nil, closing, nil)
			ctx.waiting = &waiting
			ctx.stateOf = func(uint32) readerState { looks.Add(1); return readerGoesOn }
			ctx.Done()
			all = append(all, ctx)
		}
		time.Sleep(20 * time.Second)
		if n := looks.Load(); n < readers || n > 20_000+readers {
			t.Errorf("%d looks in 20 s", n)
		}
		close(closing)
		for _, ctx := range all {
			ctx.finish()
		}
	})
}

func TestReadContextFinishesUnused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		closing := make(chan struct{})
		newReadContext(0, nil, closing, nil).finish()
		ctx := newReadContext(0, nil, closing, nil)
		done := ctx.Done()
		ctx.finish() // and its goroutine is gone, or synctest complains
		select {
		case <-done:
			t.Error("a finished read was canceled")
		default:
		}
		close(closing)
		if err := newReadContext(0, nil, closing, nil).Err(); !errors.Is(err, ErrClosed) {
			t.Errorf("err %v", err)
		}
	})
}

type nothing struct{ closed int }

func (*nothing) ReadAt(context.Context, []byte, int64) (int, error) { return 0, errors.ErrUnsupported }
func (n *nothing) Close() error                                     { n.closed++; return nil }

func TestHandleClosesOnceAfterItsReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := new(nothing)
		h := newHandle(nil, 3, &node{}, file, new(inode))
		if _, ok := h.begin(); !ok {
			t.Fatal("refused")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := h.close(ctx); !errors.Is(err, context.DeadlineExceeded) || file.closed != 0 {
			t.Errorf("closed %d times during a read: %v", file.closed, err)
		}
		if _, ok := h.begin(); ok {
			t.Error("a read began on a closed handle")
		}
		h.end()
		for range 2 {
			if err := h.close(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if file.closed != 1 {
			t.Errorf("closed %d times", file.closed)
		}
	})
}
