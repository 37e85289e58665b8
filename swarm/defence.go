package swarm

import (
	"time"

	"torrentfs/swarm/conn"
	"torrentfs/swarm/wire"
)

// judge counts a message before it is handled.
func (c *peer) judge(e conn.Event) error {
	if e.Kind == conn.Message && e.ID == wire.Have && c.remote.Has(e.Piece) {
		if err := c.flood.Repeat(c.t.info.NumPieces()); err != nil {
			return err
		}
	}
	return c.flood.Add(e.Cost(c.heardBits, c.isSeed(), c.t.info.NumPieces()))
}

// reviewFlood is part of the once-a-second round.
func (t *Torrent) reviewFlood(now time.Duration) {
	for _, c := range t.peers {
		if c == nil {
			continue
		}
		c.flood.Decay()
		if c.down.rate > 0 || c.up.rate > 0 {
			t.pool.SetUseful(now, c.id)
		}
	}
}
