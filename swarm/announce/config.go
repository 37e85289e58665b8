package announce

import (
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"time"

	"torrentfs/net/guard"
)

// Config configures an Announcer. Zero values stand for the defaults given here, except in required
// fields.
type Config struct {
	Trackers [][]string   // tiers (BEP 12); unusable URLs and duplicates are left out
	InfoHash [20]byte     // required
	PeerID   [20]byte     // required
	Port     uint16       // that peers can connect to
	Key      uint32       // the same for a session, for all its addresses (BEP 7)
	Trust    *guard.Trust // the hosts that the user named, as the Transport has them; nil: none
	Private  bool         // BEP 27: one tracker at a time

	// Stats returns the session's totals; it must not block. Where it is nil
	// the torrent is announced as not yet begun.
	Stats func() Stats
	// Found is called with the usable peers of each answer, before the slower
	// half of a tracker with two address families has answered. Calls may
	// overlap and must not block. None is made after Run has returned.
	Found func(tracker string, peers []netip.AddrPort)
	// ExternalIP is called with our address as a tracker sees it (BEP 24), like
	// Found. It is one voice, and may be a lie.
	ExternalIP func(tracker string, addr netip.Addr)

	// Transport makes the requests: a Client to be shared by all torrents of a process. If it is
	// nil the Announcer has its own, and Run closes it.
	Transport Transport
	Logger    *slog.Logger // nil logs nothing

	// oneTracker announces to a single tracker of a tier, as BEP 12 has it,
	// not to all trackers of the first tier that answers. Private implies it.
	oneTracker bool

	// For tests.
	rand            *rand.Rand    // shuffles tiers, spreads retries; used by one goroutine at a time
	longestInterval time.Duration // that a tracker may ask for; 0 means 1 h
}

const (
	maxTrackers = 256 // of one torrent; more are left out
	numWant     = 200 // peers asked for

	// patience is how long a silent tracker keeps the next one waiting. Private
	// torrents give a tracker up, after privatePatience (enough for one lost
	// packet), before the next one is asked.
	patience        = 3 * time.Second
	privatePatience = 20 * time.Second

	shortestInterval = time.Minute     // that a tracker may ask for
	stopTimeout      = 2 * time.Second // of event=stopped at the end of Run

	defaultInterval = 30 * time.Minute // if a tracker names none
	defaultMinimum  = 5 * time.Minute  // between announces out of turn, if a tracker names none
	attemptTimeout  = 3 * time.Minute  // of one announce, beside the transport's own limits
	firstBackoff    = 15 * time.Second // after one failure; doubles with each, up to the longest interval
	longestRetry    = 24 * time.Hour   // honoured of a tracker's "retry in"
)

func (c Config) withDefaults() Config {
	if c.longestInterval <= 0 {
		c.longestInterval = time.Hour
	}
	if c.Stats == nil {
		c.Stats = func() Stats { return Stats{Left: 1} }
	}
	if c.Found == nil {
		c.Found = func(string, []netip.AddrPort) {}
	}
	if c.ExternalIP == nil {
		c.ExternalIP = func(string, netip.Addr) {}
	}
	if c.rand == nil {
		c.rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.oneTracker = c.oneTracker || c.Private
	return c
}
