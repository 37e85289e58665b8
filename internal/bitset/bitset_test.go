package bitset

import (
	"testing"

	"pgregory.net/rapid"
)

// A Set behaves as a map of its elements does.
func TestSetAgainstMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 300).Draw(t, "n")
		s, m := New(n), map[int]bool{}
		for range rapid.IntRange(0, 100).Draw(t, "steps") {
			i := rapid.IntRange(0, n-1).Draw(t, "i")
			switch rapid.IntRange(0, 2).Draw(t, "what") {
			case 0:
				if s.Set(i) == m[i] {
					t.Fatalf("Set(%d) is wrong about what was there", i)
				}
				m[i] = true
			case 1:
				if s.Clear(i) != m[i] {
					t.Fatalf("Clear(%d) is wrong about what was there", i)
				}
				delete(m, i)
			case 2:
				hi := rapid.IntRange(i, n).Draw(t, "hi")
				s.SetRange(i, hi)
				for ; i < hi; i++ {
					m[i] = true
				}
			}
		}
		check(t, s, m)
	})
}

func check(t *rapid.T, s Set, m map[int]bool) {
	if s.Count() != len(m) || s.Empty() != (len(m) == 0) {
		t.Fatalf("%d elements, want %d", s.Count(), len(m))
	}
	seen := 0
	for i := s.Next(0); i >= 0; i = s.Next(i + 1) {
		if !m[i] || !s.Has(i) {
			t.Fatalf("Next found %d", i)
		}
		seen++
	}
	if seen != len(m) {
		t.Fatalf("Next walked over %d elements of %d", seen, len(m))
	}
	c := s.Clone()
	if !c.Equal(s) {
		t.Fatal("a clone differs")
	}
	if i := s.Next(0); i >= 0 {
		if c.Clear(i); c.Equal(s) || !s.Has(i) {
			t.Fatalf("without %d in the clone: equal %v, the original has it %v", i, c.Equal(s), s.Has(i))
		}
	}
}

// Sets of different sizes are equal if only their elements are.
func TestEqualOfSizes(t *testing.T) {
	small, large := New(10), New(1000)
	if !small.Equal(large) || !large.Equal(nil) || !Set(nil).Equal(small) {
		t.Error("empty sets differ")
	}
	small.Set(3)
	large.Set(3)
	if !small.Equal(large) {
		t.Error("sets of one element differ")
	}
	large.Set(999)
	if small.Equal(large) || large.Equal(small) {
		t.Error("an element beyond the smaller set is overlooked")
	}
}
