package leave

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestRun(t *testing.T) {
	errEnough, errOwn := errors.New("enough"), errors.New("own")
	for _, c := range []struct {
		name        string
		takes       time.Duration
		end         time.Duration // of the context
		grace       time.Duration
		want        int
		wantErr     error
		wantElapsed time.Duration
	}{
		{"in time", 1, 10, 0, 7, errOwn, 1},
		{"within the grace", 12, 10, 5, 7, errOwn, 12},
		{"left behind", 100, 10, 5, 0, errEnough, 15},
		{"left behind at once", 100, 10, 0, 0, errEnough, 10},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeoutCause(t.Context(), c.end, errEnough)
			defer cancel()
			begun := time.Now()
			got, err := Run(ctx, c.grace, func() (int, error) {
				time.Sleep(c.takes)
				return 7, errOwn
			})
			if took := time.Since(begun); got != c.want || !errors.Is(err, c.wantErr) || took != c.wantElapsed {
				t.Errorf("%s: %d, %v after %v", c.name, got, err, took)
			}
			time.Sleep(c.takes) // it ends all the same
		})
	}
}
