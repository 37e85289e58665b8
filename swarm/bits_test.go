package swarm

import (
	"testing"

	"pgregory.net/rapid"
)

// A bitfield behaves like a map of its members.
func TestBitfieldAgainstMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 300).Draw(t, "n")
		b, m := newBitfield(n), map[int]bool{}
		for range rapid.IntRange(0, 100).Draw(t, "steps") {
			i := rapid.IntRange(0, n-1).Draw(t, "i")
			if rapid.Bool().Draw(t, "set") {
				if b.set(i) == m[i] {
					t.Fatalf("set(%d) is wrong about what was there", i)
				}
				m[i] = true
			} else {
				if b.clear(i) != m[i] {
					t.Fatalf("clear(%d) is wrong about what was there", i)
				}
				delete(m, i)
			}
		}
		if b.count() != len(m) {
			t.Fatalf("count %d, want %d", b.count(), len(m))
		}
		seen := 0
		for i := b.next(0); i >= 0; i = nextOf(b, i, n) {
			if !m[i] || !b.has(i) {
				t.Fatalf("next found %d", i)
			}
			seen++
		}
		if seen != len(m) {
			t.Fatalf("next walked over %d members of %d", seen, len(m))
		}
		b.fill(n)
		if b.count() != n {
			t.Fatalf("fill(%d) has %d members", n, b.count())
		}
	})
}
