package swarm

import (
	"fmt"
	"time"

	"torrentfs/metainfo"
)

const (
	// reviewInterval is how often blocked reads are looked at.
	reviewInterval = 200 * time.Millisecond
	// reviewedPerLook bounds the work of one look; which reads come to their turn is left to chance.
	reviewedPerLook = 64
	// refuseAgain is for how long a second read of a piece fails as the first did: the kernel asks
	// twice for what one application reads once, and that one should not wait twice.
	refuseAgain = 2 * time.Second

	firstReport = 5 * time.Second // the owner hears of a read that waited so long; then after twice the time, and so on
	lastReport  = 10 * time.Minute
)

// ReadPolicy is what becomes of a blocked read whose bytes do not come. The zero ReadPolicy has it
// wait.
type ReadPolicy struct {
	// Timeout fails the read when it has waited so long, in all; 0: it does not.
	Timeout time.Duration
	// Unreachable fails it when no peer within reach had one of its pieces for so long; 0: it does
	// not. Peers come and go, and say piece by piece what they have.
	Unreachable time.Duration
	// Settle is how old the torrent must be before it is believed that nobody has a piece.
	Settle time.Duration
}

// ReadOwner opened the readers, and knows what is to become of their reads. The torrent's loop calls
// it: its methods return soon, and call no method of the torrent's.
type ReadOwner interface {
	// ReadPolicy is that of the reads of a reader, by its label.
	ReadPolicy(label any) ReadPolicy
	// PeersExpected reports whether a source of peers has not answered for the first time yet.
	PeersExpected() bool
	// ReadsWait tells of the oldest of count reads, when it has waited for seconds, and then at
	// intervals that grow. ReadsGoOn tells that none waits for so long any more.
	ReadsWait(oldest BlockedRead, count int)
	ReadsGoOn()
}

// UnavailableError is why a blocked read failed by its [ReadPolicy].
type UnavailableError struct {
	Offset int64 // of the read, in the piece space
	Waited time.Duration
	Reach  Reach // who could have delivered its bytes
	Again  bool  // a read of the same piece failed a moment ago, and this one did not wait
}

func (e *UnavailableError) Error() string {
	return fmt.Sprintf("read at %d: gave up on piece %d after %v", e.Offset, e.Reach.Piece, e.Waited.Round(time.Millisecond))
}

// refuses fails a read of a piece of which a read has just failed, and reports whether it did.
func (rs *blockedReads) refuses(d *blockedRead, first, last metainfo.Piece) bool {
	t := rs.t
	if t.cfg.Reads == nil {
		return false
	}
	if len(rs.refused) > 0 && t.cfg.Reads.ReadPolicy(d.label) != (ReadPolicy{}) {
		for p := first; p <= last; p++ {
			if at, ok := rs.refused[p]; ok && time.Since(at) < refuseAgain && !t.store.Has(p) {
				d.finish(&UnavailableError{Offset: d.off, Waited: time.Since(d.since), Reach: Reach{Piece: p}, Again: true})
				return true
			}
		}
	}
	if rs.due == never {
		rs.due = t.now() + reviewInterval
	}
	return false
}

// review fails the blocked reads whose policy says so, and tells their owner of those that wait long.
func (rs *blockedReads) review(now time.Duration) {
	var oldest *blockedRead
	var some []*blockedRead
	count := 0
	for d := range rs.all {
		if count++; count <= reviewedPerLook {
			some = append(some, d)
		}
		if oldest == nil || d.since.Before(oldest.since) {
			oldest = d
		}
	}
	rs.report(oldest, count)
	for _, d := range some {
		rs.reviewOne(d, now)
	}
	for p, at := range rs.refused {
		if time.Since(at) > refuseAgain {
			delete(rs.refused, p)
		}
	}
	rs.due = now + reviewInterval
	if count == 0 {
		rs.due = never
	}
}

// reviewOne fails a read if its policy says so.
func (rs *blockedReads) reviewOne(d *blockedRead, now time.Duration) {
	policy := rs.t.cfg.Reads.ReadPolicy(d.label)
	if policy.Timeout > 0 && time.Since(d.since) >= policy.Timeout {
		rs.fail(d, rs.reach(d))
		return
	}
	if policy.Unreachable == 0 {
		return
	}
	r := rs.reach(d)
	if r.Piece < 0 || r.Holders > 0 || r.Prospects > 0 || r.Checking || now <= policy.Settle || rs.t.cfg.Reads.PeersExpected() {
		d.lacking = 0
		return
	}
	if d.lacking == 0 {
		d.lacking = now
	}
	if now-d.lacking >= policy.Unreachable {
		rs.fail(d, r)
	}
}

// fail ends a read whose bytes do not come, unless they came just now.
func (rs *blockedReads) fail(d *blockedRead, r Reach) {
	if r.Piece < 0 {
		return
	}
	if rs.refused == nil {
		rs.refused = map[metainfo.Piece]time.Time{}
	}
	rs.refused[r.Piece] = time.Now()
	rs.drop(d)
	d.finish(&UnavailableError{Offset: d.off, Waited: time.Since(d.since), Reach: r})
}

// report tells the owner of the oldest read, at intervals that grow, and when it is over.
func (rs *blockedReads) report(oldest *blockedRead, count int) {
	if oldest == nil || time.Since(oldest.since) < firstReport {
		if rs.reported {
			rs.t.cfg.Reads.ReadsGoOn()
		}
		rs.reportAt, rs.reported = firstReport, false
		return
	}
	waited := time.Since(oldest.since)
	if waited < rs.reportAt {
		return
	}
	rs.reportAt, rs.reported = min(2*waited, waited+lastReport), true
	rs.t.cfg.Reads.ReadsWait(rs.describe(oldest), count)
}

// BlockedReads counts the reads that wait, of the readers whose labels match, and tells of the
// oldest of them.
func (t *Torrent) BlockedReads(match func(label any) bool) (count int, oldest BlockedRead) {
	_ = t.call(func() {
		var first *blockedRead
		for d := range t.reads.all {
			if !match(d.label) {
				continue
			}
			if count++; first == nil || d.since.Before(first.since) {
				first = d
			}
		}
		if first != nil {
			oldest = t.reads.describe(first)
		}
	})
	return count, oldest
}

// describe is a read with what it waits for.
func (rs *blockedReads) describe(d *blockedRead) BlockedRead {
	return BlockedRead{Label: d.label, Offset: d.off, Length: d.n, Since: d.since, Reach: rs.reach(d)}
}

func (rs *blockedReads) reach(d *blockedRead) Reach {
	return rs.t.reach(rs.t.info.PieceOf(d.off), rs.t.info.PieceOf(d.off+int64(d.n)-1))
}
