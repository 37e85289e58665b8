package library

import (
	"errors"
	"fmt"
	"time"

	"torrentfs/swarm"
	"torrentfs/swarm/announce"
)

const (
	// lackPatience is for how long nobody within reach must have had a piece before a read of it fails: peers come and
	// go, and say piece by piece what they have.
	lackPatience = 2 * time.Second
	// swarmPatience is how old a torrent must be before it is believed that nobody has a piece.
	swarmPatience = 6 * time.Second
)

// readOwner decides what becomes of a torrent's reads that wait, and logs those that wait long. The torrent's loop
// owns the reads and asks.
type readOwner struct {
	t *Torrent

	// Immutable; tests are less patient.
	lackPatience  time.Duration
	swarmPatience time.Duration
}

var _ swarm.ReadOwner = (*readOwner)(nil)

// ReadPolicy implements [swarm.ReadOwner].
func (o *readOwner) ReadPolicy(label any) swarm.ReadPolicy {
	switch policy := o.t.tree.policy(label.(*file).index); policy.Policy {
	case Timeout:
		return swarm.ReadPolicy{Timeout: policy.timeout()}
	case Fail:
		return swarm.ReadPolicy{Unreachable: o.lackPatience, Settle: o.swarmPatience}
	}
	return swarm.ReadPolicy{}
}

// ReadsWait implements [swarm.ReadOwner].
func (o *readOwner) ReadsWait(oldest swarm.BlockedRead, count int) {
	f := oldest.Label.(*file)
	o.t.log().Info("a read waits", "path", f.meta.Path, "offset", oldest.Offset-f.meta.Offset,
		"waited", time.Since(oldest.Since).Truncate(time.Second).String(), "for", o.t.reason(oldest.Reach), "reads", count)
}

// ReadsGoOn implements [swarm.ReadOwner].
func (o *readOwner) ReadsGoOn() { o.t.log().Info("reads go on") }

// unavailable makes the error of a read that the torrent's loop gave up one of the file's, and logs it.
func (f *file) unavailable(err error) error {
	var gaveUp *swarm.UnavailableError
	if !errors.As(err, &gaveUp) {
		return err
	}
	out := &UnavailableError{Path: f.meta.Path, Offset: gaveUp.Offset - f.meta.Offset, Waited: gaveUp.Waited}
	if gaveUp.Again {
		out.Reason = "the same was read a moment ago"
		return out
	}
	out.Reason = f.t.reason(gaveUp.Reach)
	f.t.log().Info("failing a read: its data is not available", "path", out.Path, "offset", out.Offset,
		"waited", out.Waited.Round(time.Millisecond).String(), "because", out.Reason)
	return out
}

// reason says in words what a read waits for: the way out of this machine first,
// while that is shut or there is none.
func (t *Torrent) reason(r swarm.Reach) string {
	if err := t.l.cfg.Network.out().Err(); err != nil && r.Piece >= 0 && !r.Checking {
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

// PeersExpected implements [swarm.ReadOwner]: no tracker has answered so far, and one still may.
func (o *readOwner) PeersExpected() bool {
	t := o.t
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
