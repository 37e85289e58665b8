package library

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"torrentfs/swarm"
	"torrentfs/swarm/announce"
)

const (
	watchInterval = 200 * time.Millisecond // how often waiting reads are looked at
	// lackPatience is for how long nobody within reach must have had a piece before a read of it fails: peers come and
	// go, and say piece by piece what they have.
	lackPatience = 2 * time.Second
	// swarmPatience is how old a torrent must be before it is believed that nobody has a piece.
	swarmPatience = 6 * time.Second
	// againWindow is for how long a second read of a piece fails as the first did: the kernel asks twice for what one
	// application reads once, and that one should not wait twice.
	againWindow = 2 * time.Second

	// judgedPerLook bounds the work of one look, whose questions the torrent's loop answers; which reads come to their turn
	// is left to chance.
	judgedPerLook = 64

	firstReport = 5 * time.Second // a read that waited so long is logged; then after twice the time, and so on
	lastReport  = 10 * time.Minute
)

// waits is the reads of a torrent that wait for the swarm: whoever looks can see what for, and a policy can end them.
type waits struct {
	t     *Torrent
	added chan struct{} // holds one token

	mu      sync.Mutex // guards what follows; a leaf
	all     map[*wait]struct{}
	refused map[int]time.Time // pieces whose reads were failed lately

	// Owned by watch; tests are less patient.
	lackPatience  time.Duration
	swarmPatience time.Duration
	report        time.Duration // log when the oldest read has waited so long
	reported      bool
}

// wait is one read that waits.
type wait struct {
	// Immutable.
	file  *file
	off   int64 // in the piece space
	n     int
	since time.Time
	fail  context.CancelCauseFunc

	lacking time.Time // since when nobody has the bytes; owned by watch
}

func newWaits(t *Torrent) *waits {
	return &waits{
		t: t, added: make(chan struct{}, 1), all: map[*wait]struct{}{}, refused: map[int]time.Time{},
		lackPatience: lackPatience, swarmPatience: swarmPatience, report: firstReport,
	}
}

// read is [swarm.Reader.ReadAt] for bytes that are missing.
func (ws *waits) read(ctx context.Context, f *file, p []byte, off int64) (int, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w := &wait{file: f, off: off, n: len(p), since: time.Now(), fail: cancel}
	if err := ws.add(w); err != nil {
		return 0, err
	}
	n, err := f.reader.ReadAt(ctx, p, off)
	ws.remove(w)
	if gaveUp := (*UnavailableError)(nil); n < len(p) && errors.As(context.Cause(ctx), &gaveUp) {
		err = gaveUp
	}
	return n, err
}

// add refuses a read of a piece that was just found to be unavailable.
func (ws *waits) add(w *wait) error {
	t := ws.t
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if len(ws.refused) > 0 && t.tree.policy(w.file.index).Policy != Block {
		last := t.info.PieceOf(w.off + int64(w.n) - 1)
		for p := t.info.PieceOf(w.off); p <= last; p++ {
			if at, ok := ws.refused[p]; ok && time.Since(at) < againWindow && !t.store.Has(p) {
				return w.gaveUp("the same was read a moment ago")
			}
		}
	}
	ws.all[w] = struct{}{}
	select {
	case ws.added <- struct{}{}:
	default:
	}
	return nil
}

func (ws *waits) remove(w *wait) {
	ws.mu.Lock()
	delete(ws.all, w)
	ws.mu.Unlock()
}

func (w *wait) gaveUp(reason string) *UnavailableError {
	return &UnavailableError{
		Path: w.file.meta.Path, Offset: w.off - w.file.meta.Offset, Waited: time.Since(w.since), Reason: reason,
	}
}

// snapshot is the waiting reads in any order, and the oldest of them.
func (ws *waits) snapshot() (all []*wait, oldest *wait) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for w := range ws.all {
		all = append(all, w)
		if oldest == nil || w.since.Before(oldest.since) {
			oldest = w
		}
	}
	return all, oldest
}

// watch looks at the waiting reads until ctx ends: it logs those that wait long and fails those whose policy says so.
func (ws *waits) watch(ctx context.Context) {
	begun := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ws.added:
		}
		ticker := time.NewTicker(watchInterval)
		for ws.look(time.Now(), time.Since(begun) > ws.swarmPatience) {
			select {
			case <-ctx.Done():
				ticker.Stop()
				return
			case <-ticker.C:
			}
		}
		ticker.Stop()
	}
}

// look takes one look and reports whether anybody waits.
func (ws *waits) look(now time.Time, settled bool) bool {
	all, oldest := ws.snapshot()
	for _, w := range all[:min(len(all), judgedPerLook)] {
		ws.judge(w, now, settled)
	}
	ws.logWaiting(oldest, len(all), now)
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for p, at := range ws.refused {
		if now.Sub(at) > againWindow {
			delete(ws.refused, p)
		}
	}
	return len(ws.all) > 0
}

// judge fails a read if its policy says so.
func (ws *waits) judge(w *wait, now time.Time, settled bool) {
	policy := ws.t.tree.policy(w.file.index)
	switch policy.Policy {
	case Timeout:
		if now.Sub(w.since) >= policy.timeout() {
			ws.refuse(w, ws.reach(w))
		}
	case Fail:
		r := ws.reach(w)
		if r.Piece < 0 || r.Holders > 0 || r.Prospects > 0 || r.Checking || !settled || ws.t.awaitsTracker() {
			w.lacking = time.Time{}
			return
		}
		if w.lacking.IsZero() {
			w.lacking = now
		}
		if now.Sub(w.lacking) >= ws.lackPatience {
			ws.refuse(w, r)
		}
	}
}

func (ws *waits) reach(w *wait) swarm.Reach { return ws.t.swarm.Reach(w.off, w.n) }

func (ws *waits) refuse(w *wait, r swarm.Reach) {
	if r.Piece < 0 {
		return // it came just now
	}
	err := w.gaveUp(ws.t.reason(r))
	ws.mu.Lock()
	ws.refused[r.Piece] = time.Now()
	ws.mu.Unlock()
	ws.t.log().Info("failing a read: its data is not available", "path", err.Path, "offset", err.Offset,
		"waited", err.Waited.Round(time.Millisecond).String(), "because", err.Reason)
	w.fail(err)
}

// logWaiting tells of the oldest read, at intervals that grow, and when it is over.
func (ws *waits) logWaiting(oldest *wait, count int, now time.Time) {
	if oldest == nil || now.Sub(oldest.since) < firstReport {
		if ws.reported {
			ws.t.log().Info("reads go on")
		}
		ws.report, ws.reported = firstReport, false
		return
	}
	waited := now.Sub(oldest.since)
	if waited < ws.report {
		return
	}
	ws.report, ws.reported = min(2*waited, waited+lastReport), true
	ws.t.log().Info("a read waits", "path", oldest.file.meta.Path, "offset", oldest.off-oldest.file.meta.Offset,
		"waited", waited.Truncate(time.Second).String(), "for", ws.t.reason(ws.reach(oldest)), "reads", count)
}

// of counts the waiting reads of the files, and says what the oldest of them waits for.
func (ws *waits) of(want func(file int) bool) (count int, oldest *wait) {
	all, _ := ws.snapshot()
	for _, w := range all {
		if !want(w.file.index) {
			continue
		}
		count++
		if oldest == nil || w.since.Before(oldest.since) {
			oldest = w
		}
	}
	return count, oldest
}

// reason says in words what a read waits for: the way out of this machine first,
// while that is shut or there is none.
func (t *Torrent) reason(r swarm.Reach) string {
	if err := t.l.cfg.Network.Err(); err != nil && r.Piece >= 0 && !r.Checking {
		return err.Error()
	}
	if t.l.Offline() && r.Piece >= 0 && !r.Checking && r.Holders == 0 {
		return fmt.Sprintf("this computer has no network, piece %d is missing", r.Piece)
	}
	text := reason(r)
	if trouble := t.trackerTrouble(); trouble != "" && r.Piece >= 0 && !r.Checking && r.Holders == 0 {
		text += "; " + trouble
	}
	return text
}

func reason(r swarm.Reach) string {
	switch {
	case r.Checking:
		return fmt.Sprintf("piece %d on disk is being checked", r.Piece)
	case r.Piece < 0:
		return "the last byte has just come"
	case r.Holders > 0 && r.Unchoked > 0:
		return fmt.Sprintf("piece %d comes from up to %d of %d peers", r.Piece, r.Unchoked, r.Peers)
	case r.Holders > 0:
		return fmt.Sprintf("the peers that have piece %d, %d of %d, do not send to us yet", r.Piece, r.Holders, r.Peers)
	case r.Prospects > 0:
		return fmt.Sprintf("looking for a peer that has piece %d, connecting to %d", r.Piece, r.Prospects)
	case r.Peers > 0:
		return fmt.Sprintf("none of %d peers has piece %d", r.Peers, r.Piece)
	}
	return fmt.Sprintf("no peer is known, piece %d is missing", r.Piece)
}

// awaitsTracker reports whether no tracker has answered so far and one still may.
func (t *Torrent) awaitsTracker() bool {
	if t.sources.trackers == nil {
		return false
	}
	a := t.sources.trackers.announcer.Load()
	if a == nil {
		return true
	}
	pending := false
	for _, s := range a.Status() {
		switch s.State {
		case announce.Working:
			return false
		case announce.Idle, announce.Announcing:
			pending = pending || s.Failures == 0
		}
	}
	return pending
}
