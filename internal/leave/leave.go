// Package leave runs calls that may hang in the kernel, on a disk or a mount that does not answer,
// and leaves them behind.
package leave

import (
	"context"
	"time"
)

// Result is what a call returned.
type Result[T any] struct {
	Value T
	Err   error
}

// Go starts f. The result comes when f returns, whether it is waited for or not: f uses nothing
// that a caller which stops waiting gets back.
func Go[T any](f func() (T, error)) <-chan Result[T] {
	done := make(chan Result[T], 1)
	go func() {
		v, err := f()
		done <- Result[T]{v, err}
	}()
	return done
}

// Run returns what f returns, or the cause of ctx if f has not returned some time, grace, after ctx
// ended. Then f goes on, see [Go].
func Run[T any](ctx context.Context, grace time.Duration, f func() (T, error)) (T, error) {
	done := Go(f)
	select {
	case r := <-done:
		return r.Value, r.Err
	case <-ctx.Done():
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case r := <-done:
		return r.Value, r.Err
	case <-timer.C:
		var none T
		return none, context.Cause(ctx)
	}
}
