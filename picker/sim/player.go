package sim

import (
	"time"
)

// PlayResult is how a film looks.
type PlayResult struct {
	Start   []float64 // s from a seek until it plays
	Stalls  int
	Stalled time.Duration
	Wasted  float64
	Rate    float64
}

// player consumes at a constant rate from a buffer of two seconds, and begins when it holds one.
type player struct {
	w       *World
	rate    float64 // bytes/s
	res     *PlayResult
	pos     int64
	buffer  float64
	playing bool
	reading bool
	began   bool          // since the last seek
	sought  time.Duration // when
	last    time.Duration
	until   time.Duration // end of the segment
	stalled time.Duration // since when; 0: not
	turn    int
	left    int // segments
}

const (
	playerRead    = 256 << 10
	playerSegment = 60 * time.Second
	playerTail    = 600 << 20 // bytes that a segment may need
)

// Play plays segments of 60 s at bytes/s with seeks in between.
func Play(s Setup, rate float64, segments int) PlayResult {
	w := s.world(8 << 30)
	w.Start()
	if s.Busy {
		w.client.download(true)
	}
	var res PlayResult
	pl := &player{w: w, rate: rate, res: &res, left: segments}
	w.at(time.Second, func() {
		pl.seek()
		pl.tick()
	})
	w.Run(1200 * time.Second)
	if pl.stalled > 0 {
		res.Stalled += w.now - pl.stalled
	}
	res.Wasted = float64(w.Wasted) / float64(w.Received)
	res.Rate = float64(w.Received) / (w.now - time.Second).Seconds() / w.Capacity()
	return res
}

func (pl *player) seek() {
	w := pl.w
	pl.turn++
	for id := range w.client.reads {
		w.client.cancelRead(id)
	}
	for {
		pl.pos = w.rng.Int64N(w.client.g.Size()-playerTail) / playerRead * playerRead
		if !w.client.started[pl.pos/w.client.g.PieceLength()] {
			break
		}
	}
	pl.reading, pl.playing, pl.began, pl.buffer = false, false, false, 0
	pl.sought, pl.last = w.now, w.now
}

func (pl *player) drain() {
	if pl.playing {
		pl.buffer -= pl.rate * (pl.w.now - pl.last).Seconds()
	}
	pl.last = pl.w.now
}

// pump reads while there is room in the buffer.
func (pl *player) pump() {
	pl.drain()
	if pl.reading || pl.w.stopped || pl.buffer >= 2*pl.rate {
		return
	}
	pl.reading = true
	turn := pl.turn
	pl.w.client.read(0, pl.pos, playerRead, func(*Read) {
		if turn != pl.turn {
			return
		}
		pl.reading = false
		pl.pos += playerRead
		pl.drain()
		pl.buffer = max(pl.buffer, 0) + playerRead
		if !pl.playing && pl.buffer >= pl.rate {
			pl.play()
		}
		pl.pump()
	})
}

func (pl *player) play() {
	w := pl.w
	pl.playing = true
	if !pl.began {
		pl.began = true
		pl.res.Start = append(pl.res.Start, (w.now - pl.sought).Seconds())
		pl.until = w.now + playerSegment
	} else if pl.stalled > 0 {
		pl.res.Stalled += w.now - pl.stalled
	}
	pl.stalled = 0
}

func (pl *player) tick() {
	w := pl.w
	pl.drain()
	if pl.playing && pl.buffer <= 0 {
		pl.playing, pl.buffer = false, 0
		pl.res.Stalls++
		pl.stalled = w.now
	}
	if pl.playing && w.now >= pl.until {
		if pl.left--; pl.left == 0 {
			w.Stop()
			return
		}
		pl.seek()
	}
	if pl.stalled > 0 && w.now-pl.stalled > 2*readTimeout || !pl.began && w.now-pl.sought > 2*readTimeout {
		w.Stop()
		return
	}
	pl.pump()
	w.after(50*time.Millisecond, pl.tick)
}
