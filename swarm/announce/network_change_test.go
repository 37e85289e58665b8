package announce

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// In another network trackers that failed are asked at once, one that is silent
// is asked anew, one that works as soon as it allows; one that named a time keeps it.
func TestNetworkChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.set("broken", fails)
		f.set("busy", func(Request) (Response, error) {
			return Response{}, fmt.Errorf("announce: %w", &FailureError{RetryIn: 5 * time.Hour})
		})
		f.set("works", works)
		f.set("never", func(Request) (Response, error) {
			return Response{}, fmt.Errorf("announce: %w", &FailureError{Never: true})
		})
		scenario(t, f, Config{Trackers: [][]string{udp("broken"), udp("busy"), udp("never"), udp("silent"), udp("works")}}, func(a *Announcer) {
			sleep(3*time.Hour + 30*time.Second)
			for range 2 { // the second time the silent one is being asked
				f.take()
				at := time.Since(f.start)
				a.NetworkChanged()
				synctest.Wait()
				calls := f.take()
				calls = slices.DeleteFunc(calls, func(c string) bool { return strings.Contains(c, "works") })
				slices.Sort(calls)
				expect(t, "at once", calls, fmt.Sprint(at, " broken started"), fmt.Sprint(at, " silent started"))
			}
			f.set("broken", works)
			a.NetworkChanged()
			synctest.Wait()
			for _, s := range a.Status() {
				if s.State == Working && s.URL == "udp://broken:80" {
					return
				}
			}
			t.Errorf("what came back does not work: %+v", a.Status())
		})
	})
}
