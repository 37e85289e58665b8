package conn

import (
	"context"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// unaskedRate is how many bytes of blocks that nobody asked for are read of one connection
// in a second, if there is a download limit.
const unaskedRate = 2 * blockSize

// limitedReads takes one connection's share of the download limit. The limit is of all
// peers, so that only what came is taken from it, and only of blocks that we asked
// for: a peer that announces blocks, or sends what nobody wants, slows itself down.
// But for asked it is owned by the connection's reader.
type limitedReads struct {
	asked  atomic.Int64    // requests that were sent, less the answers to them
	ctx    context.Context // of the Run: ends its waits
	owing  bool            // the block that comes was asked for
	paid   int             // bytes of the block that were taken from the limit
	unpaid int             // bytes of the blocks before it that were not yet
}

// begin takes a block's header, before its payload is read. It waits until what came
// before is paid for.
func (r *limitedReads) begin(l *rate.Limiter, n int) error {
	r.owing = r.answered()
	if l == nil {
		return nil
	}
	if !r.owing {
		return sleep(r.ctx, time.Duration(n)*time.Second/unaskedRate)
	}
	if err := l.WaitN(r.ctx, r.unpaid); err != nil {
		return err // close pays
	}
	r.unpaid, r.paid = 0, 0
	return nil
}

// came takes how much of the block is here, while it is read.
func (r *limitedReads) came(l *rate.Limiter, n int) {
	if l != nil && r.owing && l.WaitN(r.ctx, n-r.paid) == nil {
		r.paid = n
	}
}

// end takes a block that is here as a whole. The rest of it is paid for when the
// next one begins: this one need not wait.
func (r *limitedReads) end(n int) {
	if r.owing {
		r.unpaid = n - r.paid
	}
	r.owing, r.paid = false, 0
}

// close pays without a wait when the connection has ended.
func (r *limitedReads) close(l *rate.Limiter) {
	if l != nil {
		l.ReserveN(time.Now(), r.unpaid)
	}
}

// answered takes one answer to our requests, and reports whether one was out.
func (r *limitedReads) answered() bool {
	for {
		n := r.asked.Load()
		if n <= 0 {
			return false
		}
		if r.asked.CompareAndSwap(n, n-1) {
			return true
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
