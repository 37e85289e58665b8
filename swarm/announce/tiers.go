package announce

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// entry is one tracker of a torrent and its timetable. It has no clock and no
// lock: now is an argument, and the Announcer's lock guards it.
type entry struct {
	url  string
	tier int // of the torrent's list

	// The announce under way, if any.
	running bool
	event   Event
	cancel  context.CancelFunc // ends it
	since   time.Time          // when the last announce began

	// The timetable.
	working  bool      // the last announce was answered
	disabled bool      // asked never to be asked again
	failures int       // in a row
	next     time.Time // of the next announce; zero before the first
	soonest  time.Time // of an announce out of turn, if working
	hungry   bool      // peers are wanted before next
	lacking  bool      // pieces lack again, and the tracker takes us for a seed
	lacked   time.Time // when that last was so
	anew     bool      // the announce under way belongs to a network that is gone

	// The session with this tracker.
	started   bool // it answered a "started"
	completed bool // it need not hear "completed" any more
	id        string

	// What it last said.
	seeders, leechers, peers int // -1 if unknown
	warning                  string
	err                      error
	told                     string // of its warnings and refusals, the last that was logged
}

// leftOut is a tracker that is not announced to, or not as the torrent has it.
type leftOut struct {
	url string
	err error
}

const (
	// lackPause is between two announces of which the second reports that pieces lack again.
	lackPause = 5 * time.Second
	// lackInterval is between two such announces out of turn.
	lackInterval = 10 * time.Minute
)

// errDuplicate: the torrent has the tracker twice, or has too many.
var errDuplicate = errors.New("duplicate, or one of too many")

// errQuery: the query of a tracker of this network is not sent.
var errQuery = errors.New("its query is not sent to a host of this machine or network")

// buildTiers returns the usable trackers of tiers, shuffled within each tier
// (BEP 12), and which of them are left out, or not wholly used. Tiers that come out
// empty are left out.
func buildTiers(tiers [][]string, trusts func(host string) bool, rnd *rand.Rand) (out [][]*entry, left []leftOut) {
	seen := make(map[string]bool)
	for i, tier := range tiers {
		var entries []*entry
		for _, url := range tier {
			url = strings.TrimSpace(url)
			if url == "" || seen[url] || len(seen) >= maxTrackers {
				left = append(left, leftOut{url, errDuplicate})
				continue
			}
			t, err := parseTarget(url, trusts)
			if err != nil {
				left = append(left, leftOut{url, err})
				continue
			}
			if t.cut {
				left = append(left, leftOut{url, errQuery})
			}
			seen[url] = true
			entries = append(entries, &entry{url: url, tier: i, seeders: -1, leechers: -1})
		}
		rnd.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
		if len(entries) > 0 {
			out = append(out, entries)
		}
	}
	return out, left
}

// due is when e is to be announced to, as far as e alone is concerned. complete is set if the
// download has become complete during this session.
func (e *entry) due(complete bool) time.Time {
	switch {
	case !e.working:
		return e.next
	case complete && !e.completed:
		return e.since // an event waits for no interval
	case e.lacking:
		return e.since.Add(lackPause)
	case e.hungry && e.soonest.Before(e.next):
		return e.soonest
	default:
		return e.next
	}
}

// rules are what the plan of a torrent's announces depends on besides its
// trackers.
type rules struct {
	patience time.Duration
	whole    bool // announce to all trackers of the tier that works
	private  bool // never to two at a time
	complete bool
}

// plan decides, in the order of BEP 12, which trackers are to be announced to
// now, and when to ask again (zero: when something happens). It changes
// nothing, except by marking as running what it returns.
//
// The walk ends at the first tier with a tracker that works. On the way, a
// tracker that is due is started, one that has just been started is waited
// for, and one that failed, or that has been silent for longer than the
// patience, is passed.
//
// A private torrent stays with the tracker that works until it fails, even with others before it:
// to change trackers is to drop all peers (BEP 27).
func plan(tiers [][]*entry, now time.Time, r rules) (start []*entry, wake time.Time) {
	p := planner{rules: r, now: now}
	if r.private {
		all := slices.Concat(tiers...)
		if slices.ContainsFunc(all, func(e *entry) bool { return e.running }) {
			return nil, time.Time{}
		}
		if i := slices.IndexFunc(all, func(e *entry) bool { return e.working }); i >= 0 {
			tiers = [][]*entry{all[i : i+1]}
		}
	}
	for _, tier := range tiers {
		if p.walk(tier) {
			break
		}
	}
	return p.start, p.wake
}

type planner struct {
	rules
	now   time.Time
	start []*entry
	wake  time.Time
}

// walk plans one tier and reports whether the tiers below it have to wait.
func (p *planner) walk(tier []*entry) (stop bool) {
	whole := p.whole && slices.ContainsFunc(tier, func(e *entry) bool { return e.working })
	for _, e := range tier {
		if e.disabled {
			continue
		}
		if !e.running {
			if at := e.due(p.complete); at.After(p.now) {
				p.at(at)
			} else {
				e.running, e.since = true, p.now
				p.start = append(p.start, e)
			}
		}
		holds := e.working
		if e.running {
			patient := e.since.Add(p.patience)
			holds = p.private || patient.After(p.now)
			if holds && !p.private {
				p.at(patient)
			}
		}
		if holds && !whole {
			return true
		}
		// In a tier that is announced to as a whole only the working
		// trackers keep the next tier waiting: the others are extras.
		stop = stop || holds && e.working
	}
	return stop
}

// at asks for the plan to be made again at t.
func (p *planner) at(t time.Time) {
	if p.wake.IsZero() || t.Before(p.wake) {
		p.wake = t
	}
}

// promote moves e in front of the trackers of its tier that do not work.
func promote(tier []*entry, e *entry) {
	from := slices.Index(tier, e)
	to := slices.IndexFunc(tier, func(o *entry) bool { return o == e || !o.working })
	if from <= to {
		return
	}
	copy(tier[to+1:from+1], tier[to:from])
	tier[to] = e
}

// refused reports whether the last answer was a refusal, which the network has
// nothing to do with.
func (e *entry) refused() bool {
	_, ok := errors.AsType[*FailureError](e.err)
	return ok
}

// bounds are the limits on what trackers may ask for.
type bounds struct{ shortest, longest time.Duration }

func (b bounds) clamp(d time.Duration) time.Duration { return min(max(d, b.shortest), b.longest) }

// succeed notes an answer.
func (e *entry) succeed(now time.Time, r Response, b bounds) {
	interval := r.Interval
	if interval <= 0 {
		interval = defaultInterval
	}
	minimum := r.MinInterval
	if minimum <= 0 {
		minimum = min(interval, defaultMinimum)
	}
	minimum = b.clamp(minimum)
	e.working, e.failures, e.err = true, 0, nil
	e.soonest = now.Add(minimum)
	e.next = now.Add(max(b.clamp(interval), minimum))
	e.warning = r.Warning
	e.seeders, e.leechers, e.peers = r.Seeders, r.Leechers, len(r.Peers)
	if r.ID != "" {
		e.id = r.ID
	}
	switch e.event {
	case EventStarted:
		e.started = true
	case EventCompleted:
		e.completed = true
	}
}

// fail notes a failure and sets the time of the next attempt: twice as far away with each failure
// in a row, with a jitter of a fifth, so that a tracker that comes back is not asked by all its
// clients at once. If the tracker names a time, that is used.
func (e *entry) fail(now time.Time, err error, b bounds, rnd *rand.Rand) {
	e.working, e.err, e.hungry, e.lacking = false, err, false, false
	e.failures++
	wait := b.longest
	if shift := e.failures - 1; shift < 20 {
		wait = min(firstBackoff<<shift, b.longest)
	}
	wait = time.Duration(float64(wait) * (0.8 + 0.4*rnd.Float64()))
	if refusal, ok := errors.AsType[*FailureError](err); ok {
		e.disabled = refusal.Never
		wait = max(wait, min(refusal.RetryIn, longestRetry))
	}
	e.next = now.Add(wait)
}
