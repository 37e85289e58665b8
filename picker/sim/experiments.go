package sim

import (
	"math"
	"time"

	"torrentfs/metainfo"
	"torrentfs/picker"
)

// Setup is one swarm, torrent and picker to try.
type Setup struct {
	Scenario Scenario
	Piece    int64 // piece length, bytes
	Leaf     bool  // BEP 52 leaf hashes: blocks verify one by one
	Busy     bool  // a background download of the whole torrent runs
	Seed     uint64
	Check    bool // the picker's invariants, every few steps
}

func (s *Setup) world(size int64) *World {
	cfg := picker.Config{LeafVerified: s.Leaf}
	w := NewWorld(s.Seed, metainfo.NewGeometry(s.Piece, size/s.Piece*s.Piece), cfg, s.Scenario.Peers, s.Scenario.Down)
	w.client.check = s.Check
	return w
}

// SeekResult is what random reads cost.
type SeekResult struct {
	Reads  []Read
	Failed int     // took more than a minute; counted as one
	Wasted float64 // share of the bytes received
	Rate   float64 // received in the meantime, over the swarm's capacity
}

const readTimeout = 60 * time.Second

// Seek reads 64 KiB at n random places, half a second and more apart, in pieces that nothing was requested of.
func Seek(s Setup, n int, think time.Duration) SeekResult {
	size := int64(8) << 30
	if s.Piece >= 4<<20 {
		size *= 2
	}
	w := s.world(size)
	w.Start()
	var res SeekResult
	const begin = 12 * time.Second
	w.client.download(true)
	if !s.Busy { // warm the estimates, then let the pipes go cold
		w.at(6*time.Second, func() { w.client.download(false) })
	}
	var received int64
	var next func()
	count := 0
	next = func() {
		if count++; count > n {
			w.Stop()
			return
		}
		piece := w.untouchedPiece()
		off := int64(piece)*s.Piece + w.rng.Int64N(s.Piece/4096)*4096
		pending := true
		finish := func(r Read) {
			pending = false
			res.Reads = append(res.Reads, r)
			w.after(think+w.exp(0.5), next)
		}
		id := w.client.read(0, off, 64<<10, func(r *Read) { finish(*r) })
		r := w.client.reads[id]
		w.after(readTimeout, func() {
			if pending {
				res.Failed++
				w.client.cancelRead(id)
				r.Took = readTimeout
				finish(*r)
			}
		})
	}
	w.at(begin, func() { received = w.Received; next() })
	w.Run(time.Duration(n) * (readTimeout + 10*time.Second))
	res.Wasted = float64(w.Wasted) / float64(w.Received)
	res.Rate = float64(w.Received-received) / (w.now - begin).Seconds() / w.Capacity()
	return res
}

// untouchedPiece is a random piece of which, as of the next, nothing was requested, and that three peers serve.
func (w *World) untouchedPiece() int {
	c := w.client
	for try := 0; ; try++ {
		piece := w.rng.IntN(c.g.NumPieces() - 1)
		if try < 100000 && (c.started[piece] || c.started[piece+1]) {
			continue
		}
		n := 0
		for _, r := range w.remotes {
			if !r.Dead && r.seen && r.has(piece) {
				n++
			}
		}
		if n >= 3 {
			return piece
		}
	}
}

// Cold is the first read in a fresh swarm, n times.
func Cold(s Setup, n int) SeekResult {
	var res SeekResult
	var wasted, received int64
	for i := range n {
		s := s
		s.Seed += uint64(i)
		w := s.world(1 << 30)
		w.Start()
		w.at(600*time.Millisecond, func() {
			off := w.rng.Int64N(w.client.g.Size()-2*s.Piece) / 4096 * 4096
			w.client.read(0, off, 64<<10, func(r *Read) {
				res.Reads = append(res.Reads, *r)
				w.Stop()
			})
		})
		w.Run(2 * readTimeout)
		if len(res.Reads) <= i {
			res.Failed++
			res.Reads = append(res.Reads, Read{Took: 2 * readTimeout})
		}
		wasted += w.Wasted
		received += w.Received
	}
	res.Wasted = float64(wasted) / float64(received)
	return res
}

// SequentialResult is what reading from the start in order gives.
type SequentialResult struct {
	First   time.Duration // until the first read is served
	Seconds []float64     // rate in each second after the first round trip, over the swarm's capacity
	Wasted  float64
}

// Sequential reads 128 KiB after 128 KiB from offset 0, without pause, for some seconds in a fresh swarm.
func Sequential(s Setup, seconds int) SequentialResult {
	const n = 128 << 10
	w := s.world(4 << 30)
	w.Start()
	var res SequentialResult
	const begin = 600 * time.Millisecond
	pos, pending := int64(0), 0
	var next func()
	next = func() {
		for pending < 4 && !w.stopped { // as many as a kernel's read-ahead has under way
			pending++
			off := pos
			pos += n
			w.client.read(0, off, n, func(*Read) {
				pending--
				if off == 0 {
					res.First = w.now - begin
				}
				next()
			})
		}
	}
	w.at(begin, func() {
		w.client.download(s.Busy)
		next()
	})
	last := int64(0)
	for i := range seconds {
		w.Run(begin + time.Duration(i+1)*time.Second)
		res.Seconds = append(res.Seconds, float64(w.Received-w.Wasted-last)/w.Capacity())
		last = w.Received - w.Wasted
	}
	res.Wasted = float64(w.Wasted) / float64(w.Received)
	return res
}

// FullResult is what a whole download takes.
type FullResult struct {
	Rate   float64 // up to 95 %, over the swarm's capacity
	Last   float64 // time of the last 5 %, over the ideal
	Wasted float64
	Done   bool
}

// Full downloads a torrent of some size with no reader.
func Full(s Setup, size int64) FullResult {
	w := s.world(size)
	w.Start()
	w.client.download(true)
	blocks := w.client.g.NumPieces() * w.client.g.BlocksPerPiece()
	at95, done := time.Duration(0), false
	var look func()
	look = func() {
		if at95 == 0 && w.client.held >= blocks*95/100 {
			at95 = w.now
		}
		if w.client.held == blocks {
			done = true
			w.Stop()
			return
		}
		w.after(20*time.Millisecond, look)
	}
	look()
	w.Run(20000 * time.Second)
	total, capacity := float64(blocks)*picker.BlockSize, w.Capacity()
	return FullResult{
		Rate:   total * 0.95 / at95.Seconds() / capacity,
		Last:   (w.now - at95).Seconds() / (total * 0.05 / capacity),
		Wasted: float64(w.Wasted) / math.Max(1, float64(w.Received)),
		Done:   done,
	}
}
