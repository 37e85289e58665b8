package swarm

import (
	"fmt"
	"time"

	"torrentfs/metainfo"
	"torrentfs/swarm/choke"
	"torrentfs/swarm/conn"
	"torrentfs/swarm/wire"
)

// uploads is what a torrent's peers ask of it. The loop owns it.
type uploads struct {
	t      *Torrent
	choker *choke.Choker
}

func newUploads(t *Torrent) *uploads {
	return &uploads{t: t, choker: choke.New(t.cfg.Slots, t.rand)}
}

// interest notes whether a peer wants something of us; while a slot is
// free it need not wait for the next round.
func (x *uploads) interest(c *peer, on bool) {
	c.peerWants = on
	switch {
	case !on:
		x.choker.Uninterested(c.id)
	case x.choker.Interested(x.t.now(), c.id):
		x.unchoke(c)
	}
}

// request queues a block for a peer, or refuses it. With the fast
// extension every request gets exactly one answer (BEP 6).
func (x *uploads) request(c *peer, u conn.Request) error {
	t := x.t
	if u.Piece >= t.info.NumPieces() || u.Length <= 0 || u.Length > blockSize || int64(u.Begin)+int64(u.Length) > x.servable(u.Piece) {
		return fmt.Errorf("%w: request for %d bytes at %d of piece %d", wire.ErrProtocol, u.Length, u.Begin, u.Piece)
	}
	switch {
	case c.choking:
		if c.strikes++; c.strikes > maxStrikes {
			return fmt.Errorf("%w: %d requests while choked", wire.ErrProtocol, c.strikes)
		}
		x.reject(c, u)
	case !t.store.Has(u.Piece), c.Uploads() >= maxQueue:
		x.reject(c, u)
		return c.flood.Add(1)
	default:
		c.Upload(u)
		t.touch(c)
	}
	return nil
}

// servable is how many bytes of a piece may be asked for. Behind each file of a
// v2 torrent libtorrent sees padding up to the end of the piece, and asks for it
// with the file's last block: it is served as zeros.
func (x *uploads) servable(piece metainfo.Piece) int64 {
	t := x.t
	if !t.info.Hash.HasV1 {
		return t.info.PieceLength()
	}
	return t.info.PieceSize(piece)
}

// cancel takes a request back if its block has not been sent.
func (x *uploads) cancel(c *peer, u conn.Request) {
	if c.Withdraw(u) {
		x.reject(c, u)
	}
}

func (x *uploads) reject(c *peer, u conn.Request) {
	if c.Fast() {
		x.t.post(c, func(b []byte) []byte { return wire.AppendReject(b, uint32(u.Piece), uint32(u.Begin), uint32(u.Length)) })
	}
}

func (x *uploads) unchoke(c *peer) {
	c.choking = false
	x.t.post(c, wire.AppendUnchoke)
}

// choke ends a peer's turn. What it asked for and did not get is refused, with
// the fast extension explicitly.
func (x *uploads) choke(c *peer) {
	c.choking = true
	x.t.post(c, wire.AppendChoke)
	for _, u := range c.WithdrawAll() {
		x.reject(c, u)
	}
}

// rechoke hands out the upload slots anew when it is time.
func (x *uploads) rechoke(now time.Duration) {
	t := x.t
	if now < x.choker.NextRound() {
		return
	}
	var peers []choke.Peer
	for _, c := range t.peers {
		if c != nil {
			peers = append(peers, choke.Peer{
				ID: c.id, Interested: c.peerWants, Snubbed: c.snubs(now), Since: c.since.Sub(t.start), Rate: c.down.rate,
			})
		}
	}
	for _, a := range x.choker.Round(now, peers, t.pieces.allHeld.Load()) {
		if c := t.peer(a.Peer); a.Choke {
			x.choke(c)
		} else {
			x.unchoke(c)
		}
	}
}
