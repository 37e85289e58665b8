package swarm

import (
	"time"

	"torrentfs/picker"
	"torrentfs/swarm/conn"
	"torrentfs/swarm/hashes"
)

// Intervals of the loop's own housekeeping.
const (
	houseInterval  = time.Second
	eventsPerFlush = 128 // peer events handled before what they caused is sent
)

// run is the owner of the torrent's state. Each event is handled to its end;
// what the picker then asks for is sent before the next wait.
func (t *Torrent) run() {
	defer t.end()
	for {
		select {
		case <-t.ctx.Done():
			return
		case e := <-t.fromPeers:
			t.handlePeerEvents(e)
		case e := <-t.web.events:
			t.web.handleAll(e)
		case c := <-t.arrivals:
			t.addPeer(c)
		case r := <-t.pool.dialed:
			t.pool.handleDialed(r)
		case r := <-t.pieces.hasher.Results():
			t.pieces.hashed(r)
		case t.pieces.checkQueue() <- t.pieces.nextCheck():
			t.pieces.CheckTaken()
		case r := <-t.pieces.hasher.Checked():
			t.pieces.checked(r)
		case d := <-t.reads.blocked:
			t.reads.admit(d)
		case d := <-t.reads.dropped:
			t.reads.drop(d)
		case h := <-t.reads.hits:
			t.picker.ReadHit(t.now(), h.reader, h.bytes)
		case h := <-t.reads.hintings:
			t.reads.takeHint(h)
		case f := <-t.calls:
			f()
		case <-t.changed: // flush renews the credit
			t.pieces.storeChanged()
		case <-t.timer.C:
			t.tick()
		}
		t.flush()
	}
}

// handlePeerEvents handles an event and what else has come meanwhile, so that
// requests go out in few writes.
func (t *Torrent) handlePeerEvents(e conn.Event) {
	t.handlePeerEvent(e)
	for range eventsPerFlush {
		select {
		case e := <-t.fromPeers:
			t.handlePeerEvent(e)
		default:
			return
		}
	}
}

// tick runs what is due by the clock.
func (t *Torrent) tick() {
	now := t.now()
	t.picker.Tick(now)
	t.pool.Tick(now)
	t.hashes.tell(func(k *hashes.Asker, now time.Duration) { k.Tick(now, len(t.reads.waiting) > 0) })
	if now >= t.reads.due {
		t.reads.review(now)
	}
	if now >= t.houseDue {
		t.keepHouse(now)
		t.houseDue = t.nextHouse(now)
	}
}

// keepHouse is the once-a-second round: rates, choking, keep-alives, new connections.
func (t *Torrent) keepHouse(now time.Duration) {
	t.measureRates()
	t.hashes.tell((*hashes.Asker).Review)
	t.pieces.apply(t.pieces.ClaimWanted())
	t.reviewFlood(now)
	t.reviewInterest()
	t.shortage.coax(t, now)
	t.shortage.tellSources(t)
	t.uploads.rechoke(now)
	t.pieces.Tick(now)
	t.web.retry(now)
}

// flush carries out the picker's actions, wakes the writers and sets the timer.
func (t *Torrent) flush() {
	t.pool.perform()
	t.pressure.update(t)
	t.actions = t.picker.Drain(t.actions[:0])
	for _, a := range t.actions {
		t.carryOut(a)
	}
	t.hashes.flush()
	for i, c := range t.dirtyMsg {
		c.Flush()
		c.dirty = false
		t.dirtyMsg[i] = nil
	}
	t.dirtyMsg = t.dirtyMsg[:0]
	now := t.now()
	if t.houseDue > now+houseInterval {
		t.houseDue = t.nextHouse(now) // it was idle: an event may have ended that
	}
	if at := min(t.picker.NextDeadline(), t.pool.NextDeadline(), t.houseDue, t.hashes.nextDeadline(), t.reads.due); at == never {
		t.timer.Stop()
	} else {
		t.timer.Reset(max(0, at-now))
	}
}

// carryOut does one action of the picker.
func (t *Torrent) carryOut(a picker.Action) {
	if a.Kind == picker.ReadDone {
		t.reads.finish(a.Read)
		return
	}
	if w, ok := t.web.at(a.Peer); ok {
		if w != nil {
			t.web.ask(w, a)
		}
		return
	}
	c := t.peer(a.Peer)
	if c == nil {
		return
	}
	switch a.Kind {
	case picker.Request:
		t.sendRequest(c, a.Block)
		t.hashes.requested(c.id, a.Block, a.On)
	case picker.Cancel:
		t.sendCancel(c, a.Block)
	case picker.Interested:
		t.sendInterested(c, a.On)
	}
}

// end is the loop's last act: nobody waits for it any more.
func (t *Torrent) end() {
	t.timer.Stop()
	for _, c := range t.peers {
		if c != nil {
			c.Close(ErrClosed)
		}
	}
	for d := range t.reads.all {
		d.finish(ErrClosed)
	}
	close(t.done)
}
