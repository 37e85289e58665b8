package tracker

import (
	"crypto/rand"
	"math"
	mrand "math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const shards = 64

// Server is a tracker. It is safe for concurrent use. It serves HTTP as an
// http.Handler, and both protocols on given sockets by Serve.
type Server struct {
	cfg    Config
	start  time.Time
	allow  map[[20]byte]bool // nil allows all
	shards [shards]shard
	conns  connIDs
	totals totals
	quota  *quota

	scratch sync.Pool // of *scratch
}

// shard holds the torrents whose info-hashes begin with certain bits.
type shard struct {
	mu     sync.Mutex // a leaf: held for one announce, never across I/O
	swarms map[[20]byte]*swarm
	_      [48]byte // keeps the locks of neighbours on different cache lines
}

// totals are the figures of Stats.
type totals struct {
	torrents, seeders, leechers          atomic.Int64
	announcesHTTP, announcesUDP, scrapes atomic.Uint64
	connects, completed, refused         atomic.Uint64
	ignored                              atomic.Uint64
}

// New returns a tracker that knows no peers.
func New(cfg Config) *Server {
	s := &Server{cfg: cfg.withDefaults(), quota: newQuota(defaultBounds)}
	s.start = s.cfg.now()
	if cfg.Allow != nil {
		s.allow = make(map[[20]byte]bool, len(cfg.Allow))
		for _, h := range cfg.Allow {
			s.allow[h] = true
		}
	}
	for i := range s.shards {
		s.shards[i].swarms = make(map[[20]byte]*swarm)
	}
	s.scratch.New = func() any { return new(scratch) }
	var secret [32]byte
	rand.Read(secret[:]) // never fails
	s.conns.init(secret)
	return s
}

// elapsed is the server's clock: the time since New.
func (s *Server) elapsed() time.Duration { return s.cfg.now().Sub(s.start) }

func (s *Server) shard(hash *[20]byte) *shard { return &s.shards[hash[0]%shards] }

// event is an announce's event, numbered as in BEP 15.
type event uint32

const (
	eventNone event = iota
	eventCompleted
	eventStarted
	eventStopped
)

// announcement is an announce that has been found well-formed.
type announcement struct {
	hash, id [20]byte
	addr     netip.AddrPort // unmapped: the address it came from, and the port it names
	left     int64          // bytes; math.MaxInt64 if unknown
	event    event
	numWant  int // negative: not named
}

// reply is the answer to an announcement. Its slices are reused.
type reply struct {
	seeders, leechers int
	peers             [families][]contact
}

// refusal is the reason for which a request is not answered, as the client gets
// to see it.
type refusal string

func (r refusal) Error() string { return string(r) }

const (
	errNotAllowed = refusal("torrent not served by this tracker")
	errFull       = refusal("tracker is full")
	errCrowd      = refusal("tracker is full, or lists too many peers of this address")
)

// announce enters a into its torrent and fills r with what to answer: peers of the asking peer's
// own family, then, if other is true, of the other one.
func (s *Server) announce(a *announcement, r *reply, other bool) error {
	r.seeders, r.leechers = 0, 0
	r.peers[ipv4], r.peers[ipv6] = r.peers[ipv4][:0], r.peers[ipv6][:0]
	if s.allow != nil && !s.allow[a.hash] {
		return errNotAllowed
	}
	want := a.numWant
	if want < 0 {
		want = s.cfg.numWant
	}
	want = min(want, s.cfg.maxNumWant)
	r1, r2 := mrand.Uint64(), mrand.Uint64()

	sh := s.shard(&a.hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	now := s.elapsed()
	sw := sh.swarms[a.hash]
	if sw == nil {
		if a.event == eventStopped {
			return nil
		}
		if s.totals.torrents.Add(1) > int64(s.cfg.MaxTorrents) {
			s.totals.torrents.Add(-1)
			return errFull
		}
		sw = newSwarm(s.quota)
		sh.swarms[a.hash] = sw
	}
	// The counts are taken around all changes, so that the totals follow.
	seeders, leechers := sw.count(seeder), sw.count(leecher)
	sw.expire(now - s.cfg.Expiry)
	s.enter(sw, a, now)
	r.seeders, r.leechers = sw.count(seeder), sw.count(leecher)
	s.totals.seeders.Add(int64(r.seeders - seeders))
	s.totals.leechers.Add(int64(r.leechers - leechers))
	if a.event == eventStopped {
		s.drop(sh, a.hash, sw)
		return nil
	}
	if len(sw.peers) == 0 { // there was no room for the first peer of a torrent
		s.drop(sh, a.hash, sw)
		return errCrowd
	}
	own, ro := familyOf(a.addr.Addr()), roleOf(a.left)
	r.peers[own] = sw.pick(r.peers[own], want, own, a.addr, ro, r1, r2)
	if other {
		rest := want - len(r.peers[own])
		r.peers[1-own] = sw.pick(r.peers[1-own], rest, 1-own, a.addr, ro, r1, r2)
	}
	return nil
}

func roleOf(left int64) role {
	if left == 0 {
		return seeder
	}
	return leecher
}

// enter changes the swarm as the announce says. A completed download is counted
// once for each peer, and only for one that was seen downloading.
func (s *Server) enter(sw *swarm, a *announcement, now time.Duration) {
	p := sw.peers[a.addr]
	ro := roleOf(a.left)
	switch {
	case a.event == eventStopped:
		if p != nil {
			sw.remove(p)
		}
	case p == nil:
		if len(sw.peers) < s.cfg.MaxPeers {
			sw.add(&peer{addr: a.addr, id: a.id, role: ro, seen: now, counted: ro == seeder})
		}
	default:
		if a.event == eventCompleted && ro == seeder && !p.counted {
			p.counted = true
			if sw.completed < math.MaxInt32 {
				sw.completed++
			}
			s.totals.completed.Add(1)
		}
		p.id = a.id
		sw.touch(p, now, ro)
	}
}

// drop forgets a torrent without peers, unless it is one of those that the
// tracker is there for. The caller holds the lock.
func (s *Server) drop(sh *shard, hash [20]byte, sw *swarm) {
	if len(sw.peers) == 0 && s.allow == nil {
		delete(sh.swarms, hash)
		s.totals.torrents.Add(-1)
	}
}

// counts are what a scrape tells of a torrent.
type counts struct{ seeders, leechers, completed int }

// scrape returns the counts of a torrent; ok is false if it is not known.
func (s *Server) scrape(hash [20]byte) (c counts, ok bool) {
	sh := s.shard(&hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sw := sh.swarms[hash]
	if sw == nil {
		return counts{}, false
	}
	s.expire(sw, s.elapsed())
	return counts{sw.count(seeder), sw.count(leecher), int(sw.completed)}, true
}

// expire forgets the silent peers of a swarm. The caller holds the lock.
func (s *Server) expire(sw *swarm, now time.Duration) {
	seeders, leechers := sw.count(seeder), sw.count(leecher)
	sw.expire(now - s.cfg.Expiry)
	s.totals.seeders.Add(int64(sw.count(seeder) - seeders))
	s.totals.leechers.Add(int64(sw.count(leecher) - leechers))
}

// Sweep forgets the peers that have been silent for too long, and the torrents
// without peers. Serve does it from time to time; answers never hold expired
// peers in any case.
func (s *Server) Sweep() {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		now := s.elapsed()
		for hash, sw := range sh.swarms {
			s.expire(sw, now)
			s.drop(sh, hash, sw)
		}
		sh.mu.Unlock()
	}
}

// Stats are a tracker's figures. Peers that have expired may be counted until
// the next sweep.
type Stats struct {
	Uptime            time.Duration
	Torrents          int
	Seeders, Leechers int

	// Since the start.
	AnnouncesHTTP, AnnouncesUDP uint64 // well-formed
	Scrapes                     uint64 // requests
	Connects                    uint64 // UDP
	Completed                   uint64 // downloads
	Refused                     uint64 // requests answered with a failure reason
	Ignored                     uint64 // UDP packets that got no answer
}

// Stats returns the figures, each exact, all of about the same moment.
func (s *Server) Stats() Stats {
	t := &s.totals
	return Stats{
		Uptime:        s.elapsed(),
		Torrents:      int(t.torrents.Load()),
		Seeders:       int(t.seeders.Load()),
		Leechers:      int(t.leechers.Load()),
		AnnouncesHTTP: t.announcesHTTP.Load(),
		AnnouncesUDP:  t.announcesUDP.Load(),
		Scrapes:       t.scrapes.Load(),
		Connects:      t.connects.Load(),
		Completed:     t.completed.Load(),
		Refused:       t.refused.Load(),
		Ignored:       t.ignored.Load(),
	}
}
