package swarm

import (
	"errors"
	"fmt"

	"torrentfs/metainfo"
)

// ErrContradiction says that a hybrid torrent describes two different contents.
var ErrContradiction = errors.New("the torrent contradicts itself")

var errStopped = errors.New("torrent was stopped")

// Err says why the torrent was stopped, nil while it was not. A stopped torrent
// has no peers, and its reads fail with this error.
func (t *Torrent) Err() error {
	if err := t.fault.Load(); err != nil {
		return *err
	}
	return nil
}

// fail stops a torrent that cannot be trusted. The loop goes on, without peers.
func (t *Torrent) fail(err error) {
	if !t.fault.CompareAndSwap(nil, &err) {
		return
	}
	t.log.Error("stop torrent: " + err.Error())
	for _, c := range t.peers {
		if c != nil {
			c.Close(errStopped)
		}
	}
	t.web.endAll()
	t.reads.failAll(err)
}

// clashError says that a hybrid torrent contradicts itself.
func clashError(piece metainfo.Piece) error {
	return fmt.Errorf("%w: the v1 and the v2 hash of piece %d are of different data", ErrContradiction, piece)
}
