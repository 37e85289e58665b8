package state

import "testing"

func TestReadable(t *testing.T) {
	for s := Missing; s <= Evicted; s++ {
		if want := s == Verified || s == Written || s == Durable; s.Readable() != want {
			t.Errorf("%v can be read: %v", s, s.Readable())
		}
		if want := s == Written || s == Durable; s.OnDisk() != want {
			t.Errorf("%v is on disk: %v", s, s.OnDisk())
		}
	}
}

// Every state can be reached, no state follows itself, and what is lost is never vouched for without a check.
func TestTransitions(t *testing.T) {
	for from := Missing; from <= Evicted; from++ {
		ways := 0
		for to := Missing; to <= Evicted; to++ {
			if to.Becomes(from) {
				ways++
			}
			if from.Becomes(to) && to == Durable && from != Written {
				t.Errorf("%v becomes %v", from, to)
			}
		}
		if ways == 0 {
			t.Errorf("nothing becomes %v", from)
		}
		if from.Becomes(from) {
			t.Errorf("%v becomes itself", from)
		}
		if from.String() == "" {
			t.Errorf("state %d has no name", from)
		}
	}
}
