package sim

import (
	"time"

	"torrentfs/metainfo"
	"torrentfs/picker"
)

// bound is the earliest that the missing blocks could come, given the nominal rates of the peers that serve them now and empty
// pipes: list scheduling, exact for equal blocks. Where no download keeps the pipes warm, TCP slow start counts.
func (w *World) bound(missing []metainfo.Block) time.Duration {
	piece := missing[0].Piece
	var holders []*remote
	least := time.Hour
	for _, r := range w.remotes {
		if !r.Dead && r.seen && r.has(piece) {
			holders = append(holders, r)
			least = min(least, r.RTT)
		}
	}
	if len(holders) == 0 {
		return 0
	}
	lo, hi := 0.0, 600.0
	for range 60 {
		mid := (lo + hi) / 2
		n := 0
		for _, r := range holders {
			if t := mid - r.RTT.Seconds(); t > 0 {
				n += deliverable(t, r.RTT.Seconds(), r.Rate, !w.client.busy)
			}
		}
		if n >= len(missing) {
			hi = mid
		} else {
			lo = mid
		}
	}
	if w.down > 0 {
		hi = max(hi, least.Seconds()+float64(len(missing)*picker.BlockSize)/w.down)
	}
	return time.Duration(hi * 1e9)
}

// deliverable is how many blocks come in t seconds after the first byte.
func deliverable(t, rtt, rate float64, slowStart bool) int {
	sum, window := 0.0, initialWindow
	if !slowStart {
		return int((rate*t + 1) / picker.BlockSize)
	}
	for window < rate*rtt {
		if t < rtt {
			return int((sum + min(window, rate*t) + 1) / picker.BlockSize)
		}
		sum += window
		window *= 2
		t -= rtt
	}
	return int((sum + rate*t + 1) / picker.BlockSize)
}
