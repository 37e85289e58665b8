package announce

import (
	"context"
	"slices"
	"sync"
	"time"
)

// State is an Announcer's state with one tracker.
type State uint8

// The states.
const (
	Idle       State = iota // not needed so far
	Announcing              // an announce is under way
	Working                 // the last announce was answered
	Failed                  // the last announce was not, or with a refusal
	Disabled                // the tracker asked never to be asked again
)

func (s State) String() string {
	switch s {
	case Idle:
		return "idle"
	case Announcing:
		return "announcing"
	case Working:
		return "working"
	case Failed:
		return "failed"
	case Disabled:
		return "disabled"
	default:
		return "unknown"
	}
}

// Status is a snapshot of one tracker's state. URL may hold a passkey.
type Status struct {
	URL      string
	Tier     int // as in Config.Trackers
	State    State
	Err      error     // of the last announce, nil if it was answered
	Warning  string    // of the last answer, printable
	Last     time.Time // when the last announce began; zero before the first
	Next     time.Time // of the next announce, if the tracker is still needed then; zero if none is planned
	Failures int       // in a row
	Seeders  int       // as the tracker counts them; -1 if it did not say
	Leechers int       // the same
	Peers    int       // usable addresses in the last answer
}

// Status returns the trackers in the order in which they are tried.
func (a *Announcer) Status() []Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []Status
	for _, tier := range a.tiers {
		for _, e := range tier {
			out = append(out, e.status())
		}
	}
	return out
}

func (e *entry) status() Status {
	s := Status{
		URL: e.url, Tier: e.tier, Err: e.err, Warning: e.warning, Last: e.since, Failures: e.failures,
		Seeders: e.seeders, Leechers: e.leechers, Peers: e.peers,
	}
	switch {
	case e.disabled:
		s.State = Disabled
	case e.running:
		s.State = Announcing
	case e.working:
		s.State, s.Next = Working, e.next
	case e.err != nil:
		s.State, s.Next = Failed, e.next
	}
	return s
}

// Scrape is one tracker's answer to a scrape.
type Scrape struct {
	URL string
	ScrapeResult
	Err error // the result is empty if it is not nil
}

// Scrape asks the trackers that the torrent is announced to for their counts,
// all at once, and waits for them or ctx. A tracker without a scrape address
// answers with an error that wraps ErrNoScrape.
func (a *Announcer) Scrape(ctx context.Context) []Scrape {
	a.mu.Lock()
	var out []Scrape
	for _, e := range slices.Concat(a.tiers...) {
		if e.started && !e.disabled {
			out = append(out, Scrape{URL: e.url})
		}
	}
	a.mu.Unlock()
	var wg sync.WaitGroup
	for i := range out {
		s := &out[i]
		wg.Go(func() {
			res, err := a.cfg.Transport.Scrape(ctx, s.URL, a.cfg.InfoHash)
			if s.Err = err; err == nil {
				s.ScrapeResult = res[0]
			}
		})
	}
	wg.Wait()
	return out
}
