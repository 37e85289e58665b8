package announce

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// Announcer announces one torrent to its trackers for as long as Run runs. Its
// methods may be called from any goroutine, before, during and after Run.
type Announcer struct {
	cfg   Config          // immutable
	own   *Client         // the transport, if Run has to close it
	log   *slog.Logger    // immutable
	wake  chan struct{}   // asks Run to plan anew
	done  chan outcome    // announces that ended; room for one per tracker
	tasks *sync.WaitGroup // announces under way, waited for by Run

	mu       sync.Mutex // guards what follows, never held across a request or a callback
	tiers    [][]*entry
	complete bool // Completed was called
	silent   bool // it was said that no tracker answers
}

// outcome is how an announce ended.
type outcome struct {
	entry *entry
	resp  Response
	err   error
}

// New returns an Announcer for a torrent. Nothing is sent before Run.
func New(cfg Config) *Announcer {
	cfg = cfg.withDefaults()
	a := &Announcer{cfg: cfg, log: cfg.Logger, wake: make(chan struct{}, 1), tasks: new(sync.WaitGroup)}
	if cfg.Transport == nil {
		a.own = NewClient(ClientConfig{Logger: cfg.Logger})
		a.cfg.Transport = a.own
	}
	var left []leftOut
	a.tiers, left = buildTiers(cfg.Trackers, cfg.Trust.Host, cfg.rand)
	a.tellLeft(left)
	trackers := 0
	for _, tier := range a.tiers {
		trackers += len(tier)
	}
	a.done = make(chan outcome, trackers)
	return a
}

// maxLeftTold bounds the log lines about trackers that are left out.
const maxLeftTold = 5

// tellLeft logs which trackers are not announced to, or not as the torrent has it:
// as a warning if the user can do something about it.
func (a *Announcer) tellLeft(left []leftOut) {
	told := 0
	for _, l := range left {
		if !errors.Is(l.err, ErrForbidden) && !errors.Is(l.err, errQuery) || told == maxLeftTold {
			a.log.Debug("tracker left out", "tracker", DisplayURL(l.url), "err", l.err)
			continue
		}
		told++
		if errors.Is(l.err, errQuery) {
			a.log.Warn("what the torrent adds to the tracker's URL is left out: it could be a command to another service of this machine or network (--trust-host allows it)",
				"tracker", DisplayURL(l.url))
			continue
		}
		a.log.Warn("tracker left out", "tracker", DisplayURL(l.url), "err", l.err)
	}
}

// Run announces until ctx ends, then says goodbye to the trackers that know us
// (event=stopped, bounded by stopTimeout) and returns nil with all its
// goroutines gone. It is to be called once.
func (a *Announcer) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return a.shutdown(ctx)
		case o := <-a.done:
			a.finish(o)
		case <-a.wake:
		case <-timer.C:
		}
		timer.Stop()
		if wait, ok := a.launch(ctx); ok {
			timer.Reset(wait)
		}
	}
}

// Completed reports that the download has become complete, so that event=completed goes to the
// trackers in use, to each once. It is not to be called for a torrent that was complete when the
// session began (BEP 3).
func (a *Announcer) Completed() {
	a.mu.Lock()
	a.complete = true
	a.mu.Unlock()
	a.poke()
}

// NeedPeers reports that more peers are wanted than there are: the working trackers are asked again
// as soon as they allow.
func (a *Announcer) NeedPeers() {
	a.mu.Lock()
	for _, tier := range a.tiers {
		for _, e := range tier {
			e.hungry = e.working
		}
	}
	a.mu.Unlock()
	a.poke()
}

// Incomplete reports that a torrent that was complete lacks pieces again: the working trackers,
// which took us for a seed and named none, are asked at once, as with an event. If that comes again
// and again they are asked as by NeedPeers.
func (a *Announcer) Incomplete() {
	a.mu.Lock()
	now := time.Now()
	for _, tier := range a.tiers {
		for _, e := range tier {
			e.hungry = e.working || e.running
			if e.hungry && (e.lacked.IsZero() || now.Sub(e.lacked) >= lackInterval) {
				e.lacking, e.lacked = true, now
			}
		}
	}
	a.mu.Unlock()
	a.poke()
}

// NetworkChanged reports that this computer is in another network: trackers that did not answer are
// asked again at once, those that did as soon as they allow, as they know an address of ours that
// may be gone. Those that refused are asked at their time.
func (a *Announcer) NetworkChanged() {
	a.mu.Lock()
	now := time.Now()
	for _, tier := range a.tiers {
		for _, e := range tier {
			switch {
			case e.running:
				e.anew = true
				e.cancel()
			case e.working:
				e.hungry = true
			case !e.disabled && e.failures > 0 && !e.refused():
				e.failures, e.next = 0, now
			}
		}
	}
	a.mu.Unlock()
	a.poke()
}

func (a *Announcer) poke() {
	select {
	case a.wake <- struct{}{}:
	default: // it is awake
	}
}

// launch starts the announces that are due and returns how long to wait for
// the next, if there is one.
func (a *Announcer) launch(ctx context.Context) (wait time.Duration, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	start, wake := plan(a.tiers, now, rules{
		patience: patience,
		whole:    !a.cfg.oneTracker,
		private:  a.cfg.Private,
		complete: a.complete,
	})
	for _, e := range start {
		r := a.request(e)
		inner, cancel := context.WithCancel(ctx)
		e.cancel = cancel
		a.tasks.Go(func() {
			defer cancel()
			a.announce(inner, e, r)
		})
	}
	return wake.Sub(now), !wake.IsZero()
}

// request builds the announce that e is to get now. The caller holds the lock.
func (a *Announcer) request(e *entry) Request {
	e.event, e.hungry, e.lacking = EventNone, false, false
	switch {
	case !e.started:
		e.event = EventStarted
		e.completed = a.complete // left=0 of the first announce says it all
	case a.complete && !e.completed:
		e.event = EventCompleted
	}
	return a.base(e)
}

func (a *Announcer) base(e *entry) Request {
	return Request{
		InfoHash: a.cfg.InfoHash,
		PeerID:   a.cfg.PeerID,
		Port:     a.cfg.Port,
		Key:      a.cfg.Key,
		Stats:    a.cfg.Stats(),
		Event:    e.event,
		NumWant:  numWant,
		ID:       e.id,
	}
}

// announce makes one announce and reports its outcome.
func (a *Announcer) announce(ctx context.Context, e *entry, r Request) {
	timeout := attemptTimeout
	if a.cfg.Private {
		timeout = privatePatience
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	resp, err := a.cfg.Transport.Announce(ctx, e.url, r, func(part Response) {
		if len(part.Peers) > 0 {
			a.cfg.Found(e.url, part.Peers)
		}
		if part.ExternalIP.IsValid() {
			a.cfg.ExternalIP(e.url, part.ExternalIP)
		}
	})
	a.done <- outcome{e, resp, err} // has room for every tracker: never waits
}

// finish enters the outcome of an announce into the tracker's timetable.
func (a *Announcer) finish(o outcome) {
	a.mu.Lock()
	defer a.mu.Unlock()
	e, now := o.entry, time.Now()
	limits := bounds{shortestInterval, a.cfg.longestInterval}
	e.running = false
	if o.err != nil {
		e.fail(now, o.err, limits, a.cfg.rand)
		if e.anew && !e.refused() {
			e.failures, e.next = 0, now
		}
		e.anew = false
		a.tell(e, o.err, "failures", e.failures, "retry", e.next.Sub(now))
		return
	}
	e.anew = false
	e.succeed(now, o.resp, limits)
	promote(a.tierOf(e), e)
	a.log.Debug("announced", "tier", e.tier, "event", e.event.String(), "peers", e.peers,
		"seeders", e.seeders, "leechers", e.leechers, "next", e.next.Sub(now))
	if e.warning != "" && e.warning != e.told {
		a.log.Warn("tracker warns", "tracker", DisplayURL(e.url), "warning", e.warning)
	}
	e.told = e.warning
	if a.silent {
		a.silent = false
		a.log.Info("a tracker answers", "tracker", DisplayURL(e.url))
	}
}

// tell logs a failure: a refusal as a warning if it is a new one, and likewise that no tracker
// answers; all else is a debug line. The caller holds the lock.
func (a *Announcer) tell(e *entry, err error, more ...any) {
	level := slog.LevelDebug
	if text := err.Error(); e.refused() && text != e.told {
		level, e.told = slog.LevelWarn, text
	}
	a.log.Log(context.Background(), level, "announce failed", append([]any{"err", err}, more...)...)
	if a.silent {
		return
	}
	for _, tier := range a.tiers {
		for _, o := range tier {
			if o.working || o.err == nil { // or was not asked yet
				return
			}
			if o != e && !o.refused() && e.refused() {
				err = o.err
			}
		}
	}
	a.silent = true
	if !e.refused() || err != e.err { // the refusal was logged already
		a.log.Warn("no tracker answers", "err", err)
	}
}

func (a *Announcer) tierOf(e *entry) []*entry {
	for _, tier := range a.tiers {
		if tier[0].tier == e.tier {
			return tier
		}
	}
	return nil
}

// shutdown ends the announces under way, sends event=stopped to the trackers
// that have answered a "started", and waits for all of it.
func (a *Announcer) shutdown(ctx context.Context) error {
	a.tasks.Wait() // ctx has ended them
	for ended := false; !ended; {
		select {
		case o := <-a.done:
			a.finish(o)
		default:
			ended = true
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	a.mu.Lock()
	for _, tier := range a.tiers {
		for _, e := range tier {
			if !e.started || e.disabled {
				continue
			}
			e.event, e.started, e.working = EventStopped, false, false
			r := a.base(e)
			r.NumWant = 0
			a.tasks.Go(func() { a.stop(ctx, e.url, r) })
		}
	}
	a.mu.Unlock()
	a.tasks.Wait()
	if a.own != nil {
		return a.own.Close()
	}
	return nil
}

// stop sends event=stopped once, without a retry.
func (a *Announcer) stop(ctx context.Context, url string, r Request) {
	_, err := a.cfg.Transport.Announce(ctx, url, r, nil)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		a.log.Debug("farewell failed", "err", err)
	}
}
