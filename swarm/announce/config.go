package announce

import (
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"time"

	"torrentfs/net/guard"
)

// Config configures an Announcer. Zero values of what is not said to be
// required stand for the defaults given here.
type Config struct {
	Trackers [][]string   // tiers (BEP 12); unusable URLs and duplicates are left out
	InfoHash [20]byte     // required
	PeerID   [20]byte     // required
	Port     uint16       // where peers can connect to
	Key      uint32       // the same for a session, whatever its address (BEP 7)
	Trust    *guard.Trust // the hosts that the user named, as the Transport has them; nil: none
	Private  bool         // BEP 27: one tracker at a time
	NumWant  int          // peers asked for; 0 means 200, negative leaves it to the tracker

	// OneTracker announces to a single tracker of a tier, as BEP 12 has it,
	// not to all trackers of the first tier that answers. Private implies it.
	OneTracker bool

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

	// Transport makes the requests: a Client to be shared by all torrents of a
	// process. Where it is nil the Announcer has its own, and Run closes it.
	Transport Transport
	Rand      *rand.Rand   // shuffles tiers, spreads retries; used by one goroutine at a time
	Logger    *slog.Logger // nil logs nothing

	// Patience is how long a silent tracker keeps the next one waiting; 0
	// means 3 s. Private torrents give a tracker up, after PrivatePatience (0
	// means 20 s, enough for one lost packet), before the next one is asked.
	Patience        time.Duration
	PrivatePatience time.Duration
	// ShortestInterval and LongestInterval bound what trackers may ask for; 0
	// means 60 s and 1 h.
	ShortestInterval, LongestInterval time.Duration
	// StopTimeout bounds the farewell at the end of Run; 0 means 2 s.
	StopTimeout time.Duration
}

const (
	maxTrackers    = 256 // of one torrent; more are left out
	defaultNumWant = 200

	defaultInterval = 30 * time.Minute // where a tracker names none
	defaultMinimum  = 5 * time.Minute  // between announces out of turn, where a tracker names none
	attemptTimeout  = 3 * time.Minute  // of one announce, whatever the transport's own limits are
	firstBackoff    = 15 * time.Second // after one failure; doubles with each, up to LongestInterval
	longestRetry    = 24 * time.Hour   // honoured of a tracker's "retry in"
)

func (c Config) withDefaults() Config {
	orElse := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	orElse(&c.Patience, 3*time.Second)
	orElse(&c.PrivatePatience, 20*time.Second)
	orElse(&c.ShortestInterval, time.Minute)
	orElse(&c.LongestInterval, time.Hour)
	c.LongestInterval = max(c.LongestInterval, c.ShortestInterval)
	orElse(&c.StopTimeout, 2*time.Second)
	if c.NumWant == 0 {
		c.NumWant = defaultNumWant
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
	if c.Rand == nil {
		c.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.OneTracker = c.OneTracker || c.Private
	return c
}
