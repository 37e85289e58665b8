package swarm

import "torrentfs/picker"

// backPressure bounds what is requested, or came and is not on disk yet. The loop owns it.
type backPressure struct {
	credit   picker.Credit
	dropping bool // pieces were given up for want of a disk
}

// update tells the picker how much may still be asked for. What was
// received and is not yet hashed or on disk counts against it: the background
// stops first, then read-ahead; a blocked read keeps a reserve. Beyond that a
// reader goes at the pace of the disk.
func (b *backPressure) update(t *Torrent) {
	b.drop(t)
	room := t.cfg.Memory - t.store.Dirty() - t.pieces.hasher.Backlog()
	reserve := 2 * t.info.PieceLength()
	if t.store.Stalled() { // what is given up makes room: see drop
		room = max(room, 0)
	}
	c := picker.Credit{
		Urgent:     max(room+reserve, 0),
		ReadAhead:  max(room*3/4, 0),
		Background: max(room/2, 0),
	}
	if b.dropping {
		c.Background = 0
	}
	if c != b.credit {
		b.credit = c
		t.picker.SetCredit(t.now(), c)
	}
}

// drop bounds the memory that waits for a disk that takes nothing: the
// oldest pieces go. Until the disk has taken half of what is left, nothing is
// fetched in the background, only to be given up again.
func (b *backPressure) drop(t *Torrent) {
	dirty := t.store.Dirty()
	switch {
	case dirty > t.cfg.Memory:
		if lost := t.store.Drop(t.cfg.Memory * 3 / 4); len(lost) > 0 {
			b.dropping = true
			t.pieces.apply(t.pieces.Dropped(lost))
		}
	case dirty <= t.cfg.Memory*3/8:
		b.dropping = false
	}
}
