package picker

import (
	"math"
	"math/rand/v2"
	"time"

	"torrentfs/metainfo"
)

const (
	fastTick = 0.010 // s between plans while a read is blocked
	slowTick = 0.100 // s between checks of silence, read-ahead deadlines and the endgame
)

// Picker schedules one torrent's requests. It belongs to one goroutine, does no I/O and reads no clock: every input carries the
// time, which must not run backwards (an earlier one counts as the latest so far). The zero value is not usable.
type Picker struct {
	rng   *rand.Rand
	order Order   // of fresh pieces
	now   float64 // seconds, of the last input

	pieces  pieces
	peers   peers
	readers readers
	plan    plan
	hedges  hedges
	credit  Credit

	// work for the next Drain
	wake   bool // starved peers may find work
	dirty  []*peer
	fastAt float64
	slowAt float64

	out []Action
}

// New returns a picker that holds nothing, wants nothing and knows no peer. Equal seeds and inputs give equal actions.
func New(cfg Config, g metainfo.Geometry, seed uint64) *Picker {
	if cfg.ReadAhead == 0 {
		cfg.ReadAhead = defaultReadAhead
	}
	p := &Picker{
		order:   cfg.Order,
		rng:     rand.New(rand.NewPCG(seed, 0x70696b6572)),
		readers: readers{at: math.Inf(-1), readAhead: cfg.ReadAhead, reserve: reserve{until: math.Inf(1)}},
		hedges:  hedges{tokens: hedgeBurst},
		credit:  Credit{math.MaxInt64, math.MaxInt64, math.MaxInt64},
		fastAt:  math.Inf(-1), slowAt: math.Inf(-1),
	}
	p.pieces.init(geometry{g, cfg.LeafVerified})
	p.plan = plan{pieces: &p.pieces, peers: &p.peers, readers: &p.readers, at: math.Inf(-1)}
	return p
}

func (p *Picker) clock(now time.Duration) { p.now = max(p.now, now.Seconds()) }

func (p *Picker) emit(a Action) { p.out = append(p.out, a) }

// SetWant replaces the background interest: pieces that touch a range are downloaded rarest-first. Requests for what is not wanted
// any more, nor needed by a reader, are cancelled.
func (p *Picker) SetWant(now time.Duration, ranges []metainfo.ByteRange) {
	p.clock(now)
	p.pieces.setWant(p.rng, ranges)
	p.abandon()
	p.wake = true
}

// Tick does what is due by the clock and returns NextDeadline. Call it when that has come; earlier or later does no harm.
func (p *Picker) Tick(now time.Duration) time.Duration {
	p.clock(now)
	if p.now-p.slowAt >= slowTick-1e-6 {
		p.slowAt = p.now
		for _, pr := range p.peers.list {
			p.checkSilence(pr)
			p.touch(pr)
		}
		p.endRests()
		if len(p.pieces.failed) > 0 {
			p.reconsider() // whom mayRetry refuses depends on the other peers
		}
		p.updateReserve()
		p.hedgeReadAhead()
		p.endgame()
	}
	if len(p.readers.blocked) > 0 && p.now-p.fastAt >= fastTick-1e-6 {
		p.fastAt = p.now
		p.plan.stale = true
	}
	return p.NextDeadline()
}

// NextDeadline returns when Tick is due, on the clock of the inputs: 10 ms on while a read is blocked, 100 ms on while requests are
// outstanding, Never where only an input can change anything. It may be in the past.
func (p *Picker) NextDeadline() time.Duration {
	at := math.Inf(1)
	switch {
	case len(p.readers.blocked) > 0:
		at = p.fastAt + fastTick
		if p.plan.stale {
			at = min(at, p.plan.at+p.planPause())
		}
	case p.peers.inflight > 0:
		at = p.slowAt + slowTick
	}
	for i := 0; p.peers.suspects > 0 && i < len(p.peers.list); i++ {
		if pr := p.peers.list[i]; pr.suspect && !pr.mute() {
			at = min(at, max(pr.probeAt, p.slowAt+slowTick))
		}
	}
	at = min(p.peers.restsEnd(at, p.slowAt+slowTick, &p.pieces), p.reserveEnd())
	if math.IsInf(at, 1) {
		return Never
	}
	if math.IsInf(at, -1) {
		at = p.now
	}
	return time.Duration(math.Ceil(at * 1e9))
}

// Drain decides on requests, as of the last input's time, and appends all actions since the last Drain to out. Several inputs of one
// moment may share one Drain.
func (p *Picker) Drain(out []Action) []Action {
	p.updateReserve()
	if len(p.readers.blocked) == 0 {
		p.plan.unissued = 0
	} else if p.plan.stale && (p.plan.blocked || p.now-p.plan.at >= p.planPause()-1e-9) {
		p.plan.stale = false
		if p.plan.blocked {
			p.plan.blocked = false
			p.preempt()
			p.wakeAll()
		}
		p.planUrgent()
		p.hedgeUrgent()
	}
	if p.wake {
		p.wake = false
		for _, pr := range p.peers.list {
			if pr.starved {
				p.touch(pr)
			}
		}
	}
	for len(p.dirty) > 0 {
		last := len(p.dirty) - 1
		pr := p.dirty[last]
		p.dirty = p.dirty[:last]
		pr.dirty = false
		p.fill(pr)
	}
	out = append(out, p.out...)
	p.out = p.out[:0]
	return out
}

// planPause is how long two plans are apart at least: a plan's cost grows with the peers.
func (p *Picker) planPause() float64 { return planCost * float64(len(p.peers.list)) }

func (p *Picker) wakeAll() {
	for _, pr := range p.peers.list {
		p.touch(pr)
	}
}
