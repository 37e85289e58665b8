package swarm

import (
	"fmt"
	"time"

	"torrentfs/swarm/choke"
	"torrentfs/swarm/conn"
	"torrentfs/swarm/wire"
)

// handleInterest notes whether a peer wants something of us; while a slot is
// free it need not wait for the next round.
func (t *Torrent) handleInterest(c *peer, on bool) {
	c.peerWants = on
	switch {
	case !on:
		t.choker.Uninterested(c.id)
	case t.choker.Interested(t.now(), c.id):
		t.unchoke(c)
	}
}

// handleRequest queues a block for a peer, or refuses it. With the fast
// extension every request gets exactly one answer (BEP 6).
func (t *Torrent) handleRequest(c *peer, u conn.Request) error {
	if u.Piece >= t.info.NumPieces() || u.Length <= 0 || u.Length > blockSize || int64(u.Begin)+int64(u.Length) > t.servable(u.Piece) {
		return fmt.Errorf("%w: request for %d bytes at %d of piece %d", wire.ErrProtocol, u.Length, u.Begin, u.Piece)
	}
	switch {
	case c.choking:
		if c.strikes++; c.strikes > maxStrikes {
			return fmt.Errorf("%w: %d requests while choked", wire.ErrProtocol, c.strikes)
		}
		t.reject(c, u)
	case !t.store.Has(u.Piece), c.Uploads() >= maxQueue:
		t.reject(c, u)
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
func (t *Torrent) servable(piece int) int64 {
	if !t.info.Hash.HasV1 {
		return t.info.PieceLength()
	}
	return t.info.PieceSize(piece)
}

// handleCancel takes a request back if its block has not been sent.
func (t *Torrent) handleCancel(c *peer, u conn.Request) {
	if c.Withdraw(u) {
		t.reject(c, u)
	}
}

func (t *Torrent) reject(c *peer, u conn.Request) {
	if c.Fast() {
		t.post(c, func(b []byte) []byte { return wire.AppendReject(b, uint32(u.Piece), uint32(u.Begin), uint32(u.Length)) })
	}
}

func (t *Torrent) unchoke(c *peer) {
	c.choking = false
	t.post(c, wire.AppendUnchoke)
}

// choke ends a peer's turn. What it asked for and did not get is refused, with
// the fast extension explicitly.
func (t *Torrent) choke(c *peer) {
	c.choking = true
	t.post(c, wire.AppendChoke)
	for _, u := range c.WithdrawAll() {
		t.reject(c, u)
	}
}

// rechoke hands out the upload slots anew when it is time.
func (t *Torrent) rechoke(now time.Duration) {
	if now < t.choker.NextRound() {
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
	for _, a := range t.choker.Round(now, peers, t.pieces.allHeld.Load()) {
		if c := t.peer(a.Peer); a.Choke {
			t.choke(c)
		} else {
			t.unchoke(c)
		}
	}
}
