package peers

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"time"

	"torrentfs/internal/budget"
	"torrentfs/picker"
	"torrentfs/swarm/wire"
)

const (
	roundInterval = time.Second
	never         = time.Duration(1<<63 - 1)

	fewPeers    = 5                // fewer than these, and the sources are asked for more
	askInterval = 10 * time.Second // between two times that they are
)

// Reasons for which a connection is refused or ended.
var (
	ErrTooMany = errors.New("connection limit reached")
	ErrTwice   = errors.New("peer is connected already")
	ErrBanned  = errors.New("peer is banned")
	ErrStopped = errors.New("torrent was stopped")
	ErrUseless = errors.New("others wait for the place")
)

// Config is what a pool is made with.
type Config struct {
	Limits *Limits
	Rand   *rand.Rand
	Start  time.Time      // zero of the pool's clock
	Self   [20]byte       // our peer id
	Listen netip.AddrPort // where we listen; invalid: nowhere
	Punch  bool           // holepunching is possible: there is uTP
}

// Tenant is what a pool works for.
type Tenant struct {
	Search   bool // for metadata; else a torrent
	MaxPeers int  // connections of a torrent, dials included; a search has limits of its own
	Private  bool // peers hear of peers from trackers alone (BEP 27)
	Hybrid   bool // there is a swarm under each of two info-hashes
}

// Needs is what the tenant needs of peers at the moment.
type Needs struct {
	Stopped  bool // nothing, for good
	Paused   bool // nobody is dialled for the moment: the tenant changes
	Complete bool // everything is here
	NoUpload bool // and nobody is served
	Empty    bool // nothing is here, so that the first messages can leave with the handshake
}

// ActionKind is what is to be done.
type ActionKind uint8

// The kinds of action.
const (
	StartDial     ActionKind = iota // Dial
	Close                           // the connection to Peer, because of Err
	SendPEX                         // PEX to Peer
	SendHolepunch                   // Punch to Peer
	AskSources                      // for more peers
)

// Action is one thing for the owner of the pool to do.
type Action struct {
	Kind  ActionKind
	Peer  picker.PeerID
	Dial  Dial
	Err   error
	PEX   wire.PEX
	Punch wire.Holepunch
}

// Pool is the peers of one info-hash. It belongs to one goroutine at a time, that of its tenant.
type Pool struct {
	cfg    Config
	tenant Tenant
	needs  Needs

	known   addressBook
	bans    banList
	slots   []*peer       // by slot of their ids; nil: free
	ids     int           // given out ever, modulo what an id can hold
	live    int           // in slots
	dialing int           // dials under way
	trying  []try         // of them, those of their own accord, the oldest first
	idle    []*peer       // outgoing ones that are of no use but for what they tell, the oldest first
	called  budget.Budget // strangers to connect to at peers' word (BEP 55)

	crowded bool          // a connection was refused since the last round
	round   time.Duration // when the last one was
	hungry  time.Duration // the sources are not asked before

	actions []Action
}

// New returns a pool that knows nobody. Equal generators and inputs give equal actions.
func New(cfg Config, t Tenant) *Pool {
	p := &Pool{cfg: cfg, round: -roundInterval}
	p.known = addressBook{rand: cfg.Rand, limits: cfg.Limits, start: cfg.Start}
	p.SetTenant(0, t)
	return p
}

// Start is the zero of the pool's clock.
func (p *Pool) Start() time.Time { return p.cfg.Start }

// clock is the time of what all pools share.
func (p *Pool) clock(now time.Duration) time.Time { return p.cfg.Start.Add(now) }

// SetTenant tells whom the pool works for from now on. Connections stay, but for those that are too many for a torrent.
func (p *Pool) SetTenant(now time.Duration, t Tenant) {
	p.tenant = t
	p.hungry = now
	if t.Search {
		p.hungry += askInterval // the sources have just begun
		return
	}
	p.idle = nil
	surplus := p.live - t.MaxPeers
	for _, unasked := range []bool{true, false} { // those that had no metadata go first
		for _, c := range p.slots {
			if c != nil && surplus > 0 && c.idle == unasked && !c.closing {
				surplus--
				p.close(c, ErrTooMany)
			}
		}
	}
	for _, c := range p.slots {
		if c != nil {
			c.idle, c.useful = false, now
		}
	}
}

// SetNeeds tells what the tenant needs.
func (p *Pool) SetNeeds(now time.Duration, n Needs) {
	old, dialed := p.needs, p.mayDial()
	p.needs = n
	if !dialed && p.mayDial() {
		defer p.fill(now)
	}
	if !old.Complete || n.Complete {
		return
	}
	// Those are called back that we let go because both sides had everything.
	for _, a := range p.known.list {
		if a.seed && !a.banned {
			a.due = min(a.due, now)
		}
	}
	p.hungry = 0
	p.fill(now)
}

// Found takes addresses that a source names, and dials.
func (p *Pool) Found(now time.Duration, by Introducer, addrs []netip.AddrPort) {
	for _, a := range addrs {
		p.known.add(a, by, now)
	}
	p.fill(now)
}

// SeenAt takes the word of a voter (a tracker's host, BEP 24) on our own address.
func (p *Pool) SeenAt(voter string, self netip.Addr) { p.known.self.vote(voter, self) }

// NetworkChanged tells that this computer has other addresses: what could not be reached before is tried anew, and soon.
// [Limits.Forgive] is for the caller.
func (p *Pool) NetworkChanged(now time.Duration) {
	p.known.forgive(now)
	p.hungry, p.round = now, now-roundInterval
	p.fill(now)
}

// Ban never takes a connection from an address again that sent wrong data.
func (p *Pool) Ban(now time.Duration, addr netip.AddrPort) {
	p.bans.ban(addr)
	p.known.add(addr, Introducer{}, now)
	if a := p.known.at(addr); a != nil {
		a.banned = true
	}
}

// Tick does what is due.
func (p *Pool) Tick(now time.Duration) {
	for len(p.trying) > 0 && p.trying[0].help <= now {
		addr := p.trying[0].addr
		p.trying = p.trying[1:]
		if a := p.known.at(addr); a != nil && a.inUse {
			p.askRelay(now, addr)
		}
	}
	if now < p.nextRound() {
		return
	}
	p.round = now
	p.makeRoom(now)
	p.fill(now)
	p.exchange(now)
	p.askSources(now)
}

// NextDeadline returns when [Pool.Tick] is due; it may be in the past.
func (p *Pool) NextDeadline() time.Duration {
	at := p.nextRound()
	if len(p.trying) > 0 {
		at = min(at, p.trying[0].help)
	}
	return at
}

// nextRound is when the next round is due: once a second while there are connections or dials, else when an address or the
// sources are.
func (p *Pool) nextRound() time.Duration {
	at := p.round + roundInterval
	if p.live+p.dialing > 0 {
		return at
	}
	due := never
	if !p.needs.Complete && !p.needs.Stopped && !p.needs.Paused {
		due = p.hungry
	}
	if p.mayDial() {
		due = min(due, p.known.soonest(p.needs.Complete))
	}
	return max(at, due)
}

// askSources asks for more peers if few are left and none can be dialled.
func (p *Pool) askSources(now time.Duration) {
	few := p.live+p.dialing < fewPeers
	if p.tenant.Search {
		few = p.busy() == 0
	}
	if now < p.hungry || !few || p.needs.Complete || p.needs.Stopped || p.needs.Paused || p.known.pick(now, false) != nil {
		return
	}
	p.hungry = now + askInterval
	p.do(Action{Kind: AskSources})
}

func (p *Pool) do(a Action) { p.actions = append(p.actions, a) }

// Drain appends what is to be done, in this order, to buf, and forgets it.
func (p *Pool) Drain(buf []Action) []Action {
	buf = append(buf, p.actions...)
	clear(p.actions)
	p.actions = p.actions[:0]
	return buf
}
