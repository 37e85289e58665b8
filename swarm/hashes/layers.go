package hashes

import (
	"time"

	"torrentfs/swarm/wire"
)

// FetchLayers asks peers for what is missing of piece layers, as [Asker.Review]
// does: a piece is complete, and its hash is not known.
func (k *Asker) FetchLayers(now time.Duration) {
	if !k.trees.lacks() {
		return
	}
	sent := map[wire.HashRange]bool{}
	k.each(func(p *peer) {
		for i := range p.asks {
			if a := &p.asks[i]; a.state == layer {
				sent[a.HashRange] = true
			}
		}
	})
	k.each(func(p *peer) {
		if !p.V2 || now < p.layersAt || len(p.asks) >= maxAsks {
			return
		}
		n := 0
		for i := range p.asks {
			if p.asks[i].state == layer {
				n++
			}
		}
		k.fetchLayersFrom(now, p, sent, layerAsks-n)
	})
}

// fetchLayersFrom asks a peer for up to n ranges that are not in sent, and adds them.
func (k *Asker) fetchLayersFrom(now time.Duration, p *peer, sent map[wire.HashRange]bool, n int) {
	for i := range k.trees.files {
		f := &k.trees.files[i]
		for at := 0; n > 0; {
			if at = k.trees.gap(f, at); at < 0 {
				break
			}
			r := layerRange(f, at)
			if !sent[r] {
				sent[r] = true
				k.send(now, p, ask{HashRange: r, file: f, piece: noPiece, state: layer})
				n--
			}
			at = int(r.Index + r.Length)
		}
		if n <= 0 {
			return
		}
	}
}

// layerCame takes nodes of a piece layer.
func (k *Asker) layerCame(now time.Duration, p *peer, a *ask, pr *Proof) {
	if !pr.layerHolds(k.trees, a.file) {
		k.wrong(now, p, a)
		return
	}
	k.act(Action{Kind: Learned})
	k.FetchLayers(now)
}
