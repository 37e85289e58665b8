package hashes

import (
	"testing"
)

// The table leaves no request behind: whatever happens, one that somebody counts on ends, by an answer, a rejection or
// by being given up, and then others are asked.
func TestTransitions(t *testing.T) {
	reached := map[state]bool{gone: true}
	var visit func(s state, sends int)
	visit = func(s state, sends int) {
		if reached[s] = true; sends > 5 {
			t.Fatalf("%v: sent %d times", s, sends)
		}
		for e := range numEvents {
			st := transitions[s][e]
			if st.do&send != 0 {
				visit(st.next, sends+1)
			} else if st.next != none && st.next != gone && st.next != s {
				visit(st.next, sends)
			}
		}
	}
	for _, s := range []state{layer, asked, held} {
		visit(s, 1)
	}
	for s := range numStates {
		if s != none && !reached[s] {
			t.Errorf("%v is never reached", s)
		}
		for e := range numEvents {
			st := transitions[s][e]
			switch sends := st.do&send != 0; {
			case st.next == none && st.do != 0:
				t.Errorf("%v, event %d: an effect of no step", s, e)
			case st.next == none:
			case s <= gone:
				t.Errorf("%v, event %d: a step of a request that is no more", s, e)
			case s.givenUp() && !st.next.givenUp() && st.next != gone:
				t.Errorf("%v to %v: it was given up and is counted on again", s, st.next)
			case sends && (st.next.unsent() || st.next == gone || st.next == refused):
				t.Errorf("%v to %v: it is sent", s, st.next)
			case s.unsent() && !sends && !st.next.unsent() && st.next != refused && st.next != gone:
				t.Errorf("%v to %v: it is not sent", s, st.next)
			case s != layer && !s.givenUp() && (st.next.givenUp() || st.next == gone) && st.do&askOthers == 0:
				t.Errorf("%v to %v: nobody else is asked", s, st.next)
			}
		}
		if s <= gone {
			continue
		}
		must := []event{rejectedIdle, peerGivenUp}
		if s != layer {
			must = append(must, rejectedRead, rejectedOwing)
		}
		if s.unsent() {
			must = append(must, blockCame, notOwed)
		}
		for _, e := range must {
			if transitions[s][e].next == none {
				t.Errorf("%v: event %d changes nothing", s, e)
			}
		}
	}
}
