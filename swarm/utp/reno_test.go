package utp

import "time"

// reno is a flow as TCP's: it fills the queue until something is lost.
type reno struct {
	path       *path
	back       time.Duration // delay of its acks
	from, till time.Duration // when it has something to send

	cwnd, ssthresh float64 // packets
	acks           []time.Duration
	lost           []time.Duration // when it learns of losses
	calm           time.Duration   // no second reduction before
	delivered      int             // bytes
}

const renoPacket = 1452

func newReno(p *path, back, from, till time.Duration) *reno {
	return &reno{path: p, back: back, from: from, till: till, cwnd: 10, ssthresh: 1e9}
}

func (r *reno) next(now time.Duration) time.Duration {
	next := time.Duration(1<<63 - 1)
	if now < r.from {
		next = r.from
	}
	if len(r.acks) > 0 {
		next = min(next, r.acks[0])
	}
	if len(r.lost) > 0 {
		next = min(next, r.lost[0])
	}
	return max(next, now)
}

func (r *reno) run(now time.Duration) {
	if now < r.from {
		return
	}
	for len(r.acks) > 0 && r.acks[0] <= now {
		r.acks = r.acks[1:]
		r.delivered += renoPacket
		if r.cwnd < r.ssthresh {
			r.cwnd++
		} else {
			r.cwnd += 1 / r.cwnd
		}
	}
	for len(r.lost) > 0 && r.lost[0] <= now {
		r.lost = r.lost[1:]
		if now >= r.calm {
			r.cwnd = max(r.cwnd/2, 2)
			r.ssthresh = r.cwnd
			r.calm = now + r.path.queue + r.path.delay + r.back
		}
	}
	for now < r.till && len(r.acks)+len(r.lost) < int(r.cwnd) {
		at, ok := r.path.transit(now, renoPacket)
		if ok {
			r.acks = append(r.acks, at+r.back)
		} else {
			r.lost = append(r.lost, max(r.path.free, now)+r.path.delay+r.back)
		}
	}
}
