package swarm

import (
	"fmt"
	"time"

	"torrentfs/metainfo"
	"torrentfs/swarm/wire"
)

// fetchLayers asks peers for what is missing of piece layers.
func (t *Torrent) fetchLayers(now time.Duration) {
	if t.trees == nil || !t.trees.lacks() {
		return
	}
	asked := map[wire.HashRange]bool{}
	for _, c := range t.peers {
		if c != nil {
			for i := range c.asks {
				if a := &c.asks[i]; a.piece < 0 && !a.late {
					asked[a.HashRange] = true
				}
			}
		}
	}
	for _, c := range t.peers {
		if c == nil || !c.v2 || now < c.layerAgain || len(c.asks) >= maxAsks {
			continue
		}
		n := 0
		for i := range c.asks {
			if c.asks[i].piece < 0 {
				n++
			}
		}
		t.fetchLayersFrom(c, asked, layerAsks-n)
	}
}

func (t *Torrent) fetchLayersFrom(c *peerConn, asked map[wire.HashRange]bool, n int) {
	for i := range t.trees.files {
		f := &t.trees.files[i]
		for at := 0; n > 0; {
			if at = t.trees.gapFrom(f, at); at < 0 {
				break
			}
			ask := layerAsk(f, at)
			if !asked[ask] {
				asked[ask] = true
				t.sendAsk(c, hashAsk{HashRange: ask, file: f, piece: -1, sent: t.now()})
				n--
			}
			at = int(ask.Index + ask.Length)
		}
		if n <= 0 {
			return
		}
	}
}

// handleLayer takes nodes of a piece layer, and has the pieces judged that
// waited for them.
func (t *Torrent) handleLayer(c *peerConn, a hashAsk, pr *proof) {
	if !pr.layerHolds(t.trees, a.file) {
		t.wrongHashes(c, &a)
		return
	}
	t.apply(t.ledger.HashesCame())
	t.fetchLayers(t.now())
}

// adoptBlocks tells the picker of a piece's blocks that are verified by themselves.
func (t *Torrent) adoptBlocks(piece int) {
	if t.trees == nil {
		return
	}
	for b := range t.info.NumBlocks(piece) {
		if t.store.HasBlock(piece, b) {
			t.picker.Adopt(t.now(), metainfo.Block{Piece: piece, Index: b})
		}
	}
}

// clashError says that a hybrid torrent contradicts itself.
func clashError(piece int) error {
	return fmt.Errorf("%w: the v1 and the v2 hash of piece %d are of different data", ErrContradiction, piece)
}
