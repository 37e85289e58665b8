package budget

import (
	"testing"
	"time"
)

// A full budget gives its burst at once, and then no more than its rate.
func TestBudget(t *testing.T) {
	var b Budget
	now := time.Unix(1_000_000, 0)
	take := func(n float64) bool { return b.Take(now, n, 2, 10) }
	if !take(10) || take(0.1) {
		t.Error("a full budget gives its burst, and nothing behind it")
	}
	now = now.Add(time.Second)
	if take(2.1) || !take(2) {
		t.Error("a second after, it gives what a second brings")
	}
	now = now.Add(time.Hour)
	if take(10.1) || !take(10) {
		t.Error("after a long pause it is full, and no fuller")
	}
}

// What is added counts at once, up to the burst.
func TestBudgetAdd(t *testing.T) {
	var b Budget
	now := time.Unix(1_000_000, 0)
	take := func(n float64) bool { return b.Take(now, n, 2, 10) }
	take(10)
	if b.Add(5); take(5.1) || !take(5) {
		t.Error("want what was added")
	}
	if b.Add(50); take(10.1) || !take(10) {
		t.Error("it is fuller than full")
	}
}
