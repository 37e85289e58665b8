package picker

import (
	"math"
	"math/rand/v2"
	"time"

	"torrentfs/internal/bitset"
	"torrentfs/metainfo"
)

const (
	fastTick = 0.010 // s between plans while a read is blocked
	slowTick = 0.100 // s between checks of silence, read-ahead deadlines and the endgame
)

// Picker schedules one torrent's requests. It belongs to one goroutine, does no I/O and reads no clock: every input carries the
// time, which must not run backwards (an earlier one counts as the latest so far). The zero value is not usable.
type Picker struct {
	// immutable
	g         geometry
	readAhead int64 // most bytes of it, for all readers together

	rng *rand.Rand
	now float64 // seconds, of the last input

	// pieces
	state     []int32 // per piece: stateFresh, stateHeld, stateVirtual or an index into parts
	heldSet   bitset.Set
	nheld     int
	want      bitset.Set
	fresh     rarest
	parts     []*partial
	freeParts []int32
	nparts    int        // started pieces
	open      []*partial // wanted ones with free blocks
	failed    map[metainfo.Piece]retry
	whole     bitset.Set // pieces whose leaves cannot be proven; nil: none

	// peers
	peers    []*peer
	table    peerTable
	inflight int // requests in all rings
	suspects int
	resting  int // pieces for which some peer is not asked yet, after a reject

	// reads
	reads      []*read
	readers    []*reader
	nextRead   ReadID
	readerAt   float64
	readerSeen bool
	reserve    reserve

	// budgets
	credit Credit
	tokens float64 // blocks that may be hedged
	hedged int64

	// work for the next Drain
	urgentDirty bool
	urgentNew   bool // a read blocked since the last plan
	wake        bool // starved peers may find work
	dirty       []*peer
	planAt      float64
	fastAt      float64
	slowAt      float64
	unissued    int // urgent blocks that the last plan left unbound
	issued      int // by issueUnit

	out []Action

	// scratch
	units   []unit
	cands   []candidate
	span    []fluid
	skip    []int
	late    []late
	planSeq uint32
}

// New returns a picker that holds nothing, wants nothing and knows no peer. Equal seeds and inputs give equal actions.
func New(cfg Config, g metainfo.Geometry, seed uint64) *Picker {
	p := &Picker{
		g: geometry{g, cfg.LeafVerified}, readAhead: cfg.ReadAhead,
		rng:     rand.New(rand.NewPCG(seed, 0x70696b6572)),
		state:   make([]int32, g.NumPieces()),
		heldSet: bitset.New(g.NumPieces()),
		want:    bitset.New(g.NumPieces()),
		failed:  map[metainfo.Piece]retry{},
		reserve: reserve{until: math.Inf(1)},
		credit:  Credit{math.MaxInt64, math.MaxInt64, math.MaxInt64},
		tokens:  hedgeBurst,
		planAt:  math.Inf(-1), fastAt: math.Inf(-1), slowAt: math.Inf(-1),
	}
	if p.readAhead == 0 {
		p.readAhead = defaultReadAhead
	}
	for i := range p.state {
		p.state[i] = stateFresh
	}
	for _, v := range g.VirtualBlocks() {
		p.state[v.Piece] = p.restState(v.Piece)
	}
	p.fresh.init(g.NumPieces())
	return p
}

func (p *Picker) clock(now time.Duration) { p.now = max(p.now, now.Seconds()) }

func (p *Picker) emit(a Action) { p.out = append(p.out, a) }

// SetWant replaces the background interest: pieces that touch a range are downloaded rarest-first. Requests for what is not wanted
// any more, nor needed by a reader, are cancelled.
func (p *Picker) SetWant(now time.Duration, ranges []metainfo.ByteRange) {
	p.clock(now)
	clear(p.want)
	for _, r := range ranges {
		if off, end := p.g.clip(r); off < end {
			p.want.SetRange(p.g.PieceOf(off), p.g.PieceOf(end-1)+1)
		}
	}
	p.fresh.rebuild(p.rng, func(piece metainfo.Piece) bool { return p.state[piece] == stateFresh && p.want.Has(piece) })
	for piece, s := range p.state {
		if s < 0 {
			continue
		}
		if pt := p.parts[s]; p.want.Has(piece) {
			p.list(pt)
		} else {
			p.unlist(pt)
		}
	}
	p.abandon()
	p.wake = true
}

// Tick does what is due by the clock and returns NextDeadline. Call it when that has come; earlier or later does no harm.
func (p *Picker) Tick(now time.Duration) time.Duration {
	p.clock(now)
	if p.now-p.slowAt >= slowTick-1e-6 {
		p.slowAt = p.now
		for _, pr := range p.peers {
			p.checkSilence(pr)
			p.touch(pr)
		}
		p.endRests()
		if len(p.failed) > 0 {
			p.reconsider() // whom mayRetry refuses depends on the other peers
		}
		p.updateReserved()
		p.hedgeReadAhead()
		p.endgame()
	}
	if len(p.reads) > 0 && p.now-p.fastAt >= fastTick-1e-6 {
		p.fastAt = p.now
		p.urgentDirty = true
	}
	return p.NextDeadline()
}

// NextDeadline returns when Tick is due, on the clock of the inputs: 10 ms on while a read is blocked, 100 ms on while requests are
// outstanding, Never where only an input can change anything. It may be in the past.
func (p *Picker) NextDeadline() time.Duration {
	at := math.Inf(1)
	switch {
	case len(p.reads) > 0:
		at = p.fastAt + fastTick
		if p.urgentDirty {
			at = min(at, p.planAt+p.planPause())
		}
	case p.inflight > 0:
		at = p.slowAt + slowTick
	}
	for i := 0; p.suspects > 0 && i < len(p.peers); i++ {
		if pr := p.peers[i]; pr.suspect && !pr.mute() {
			at = min(at, max(pr.probeAt, p.slowAt+slowTick))
		}
	}
	at = min(p.restsEnd(at), p.reserveEnd())
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
	p.updateReserved()
	if len(p.reads) == 0 {
		p.unissued = 0
	} else if p.urgentDirty && (p.urgentNew || p.now-p.planAt >= p.planPause()-1e-9) {
		p.urgentDirty = false
		if p.urgentNew {
			p.urgentNew = false
			p.preempt()
			p.wakeAll()
		}
		p.planUrgent()
		p.hedgeUrgent()
	}
	if p.wake {
		p.wake = false
		for _, pr := range p.peers {
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
func (p *Picker) planPause() float64 { return planCost * float64(len(p.peers)) }

func (p *Picker) wakeAll() {
	for _, pr := range p.peers {
		p.touch(pr)
	}
}
