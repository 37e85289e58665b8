package picker

const (
	suspectBackoff    = 5.0  // s until a silent peer is probed for the first time
	suspectBackoffMax = 60.0 // s
	giveUpAfter       = 10.0 // s of further silence after which requests count as lost

	maxPassed          = 32  // later requests that a peer may answer before one
	skipPatience       = 1.0 // s beyond its prediction, after which a block that was passed over counts as lost
	urgentSkipPatience = 0.2 // the same where a read waits for it: a copy of a block costs less than the wait
)

// checkSilence takes the blocks back from a peer that owes some and sends nothing, and in the end gives its requests up.
func (p *Picker) checkSilence(pr *peer) {
	if pr.ring.n == 0 {
		return
	}
	p.expireCancelled(pr)
	p.forgetSkipped(pr)
	if pr.ring.n == 0 {
		if pr.suspect {
			pr.backOff(p.now)
		}
		return
	}
	idle := p.now - max(pr.lastByte, pr.ring.at(0).sent)
	limit := max(2, 6*pr.dev+pr.rtt) + 2*pr.blockTime()
	if !pr.suspect && pr.cancelled == pr.ring.n && pr.pause > 0 && idle > 2*pr.pause+pr.rtt {
		p.forgetCancelled(pr)
		return
	}
	if idle <= limit {
		return
	}
	p.peers.setSuspect(pr, true)
	for i := pr.ring.n - 1; i >= 0; i-- {
		p.cancel(pr, i)
	}
	if idle > limit+giveUpAfter {
		for pr.ring.n > 0 {
			p.drop(pr, 0)
		}
		pr.backOff(p.now)
	}
}

// forgetCancelled gives up the requests of a peer that owes cancelled ones alone, and let two of its pauses pass: it is no suspect,
// it obeyed and said nothing.
func (p *Picker) forgetCancelled(pr *peer) {
	for pr.ring.n > 0 {
		p.drop(pr, 0)
	}
	p.touch(pr)
	p.plan.stale = true
}

// forgetSkipped gives up requests that a peer passed over: it answered many that were sent later, and the block is long overdue. A
// peer that works on several requests at once answers out of order, but not by so much. Transmission 3.00 loses one now and then
// when a CANCEL crosses its block on the wire; who is the only holder would never be asked again before it has sent all else.
func (p *Picker) forgetSkipped(pr *peer) {
	patience, urgent := skipPatience+4*pr.dev+2*pr.pause, urgentSkipPatience+pr.dev+pr.pause
	for i := 0; i < pr.ring.n; i++ {
		x := pr.ring.at(i)
		if !x.live() {
			continue
		}
		if int32(pr.answered-x.seq) < maxPassed {
			return // those behind were sent later
		}
		if late := p.now - x.pred; late > patience || x.flags&flagUrgent != 0 && late > urgent {
			p.drop(pr, i)
			i--
			p.plan.stale = true
		}
	}
}

func (all *peers) setSuspect(pr *peer, on bool) {
	if on == pr.suspect {
		return
	}
	pr.suspect = on
	if on {
		all.suspects++
	} else {
		all.suspects--
	}
}

// backOff sets when a suspect is probed next.
func (pr *peer) backOff(now float64) {
	pr.probeAt = now + pr.probeWait
	pr.probeWait = min(2*pr.probeWait, suspectBackoffMax)
}

// expireCancelled gives up cancelled requests whose answer is overdue while others are answered. Without the Fast extension a peer
// that obeys a CANCEL says nothing, and some with it do not either.
func (p *Picker) expireCancelled(pr *peer) {
	if pr.cancelled == 0 {
		return
	}
	patience := giveUpAfter
	switch {
	case !pr.fast:
		patience = 1 + 4*pr.dev
	case pr.pause > 0: // Transmission, most likely: it sends no rejects
		patience = 2*pr.pause + 4*pr.dev
	}
	for i := pr.ring.n - 1; i >= 0; i-- {
		x := pr.ring.at(i)
		if !x.live() && p.now > max(x.pred, x.sent+pr.rtt)+patience {
			p.drop(pr, i)
		}
	}
}

// recovered clears a suspicion: the peer sent something.
func (p *Picker) recovered(pr *peer) {
	pr.refused = 0
	if pr.suspect {
		p.peers.setSuspect(pr, false)
		pr.probeAt, pr.probeWait = 0, suspectBackoff
		p.touch(pr)
	}
}
