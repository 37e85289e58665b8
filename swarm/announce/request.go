package announce

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"torrentfs/internal/safetext"
	"torrentfs/net/guard"
)

// Event is the reason of an announce. The numbers are those of BEP 15.
type Event uint32

// The events of BEP 3.
const (
	EventNone      Event = 0 // a regular announce
	EventCompleted Event = 1 // the download has just become complete
	EventStarted   Event = 2 // the first announce of a session
	EventStopped   Event = 3 // the last announce of a session
)

// String returns the event as HTTP trackers want it, "" for EventNone.
func (e Event) String() string {
	switch e {
	case EventNone:
		return ""
	case EventCompleted:
		return "completed"
	case EventStarted:
		return "started"
	case EventStopped:
		return "stopped"
	default:
		return fmt.Sprintf("event %d", uint32(e))
	}
}

// Stats are the totals of a session, in bytes (BEP 3). Negative numbers are
// sent as 0.
type Stats struct {
	Uploaded, Downloaded, Left int64
}

// Request is one announce.
type Request struct {
	InfoHash [20]byte
	PeerID   [20]byte
	Port     uint16 // that peers can connect to
	Key      uint32 // identifies us to the tracker when the address changes (BEP 7)
	Stats    Stats
	Event    Event
	NumWant  int    // peers wanted; negative leaves it to the tracker
	ID       string // "tracker id" of an earlier answer, "" if there was none
}

// Response is what a tracker answered.
type Response struct {
	Interval    time.Duration    // until the next regular announce; 0 if not given
	MinInterval time.Duration    // announces must not be closer than this; 0 if not given
	Seeders     int              // peers that are complete; -1 if not given
	Leechers    int              // peers that are not; -1 if not given
	Peers       []netip.AddrPort // usable addresses, at most maxPeers
	ID          string           // "tracker id", to be sent from now on; "" if not given
	Warning     string           // for the user, printable; "" if there is none
	ExternalIP  netip.Addr       // our address as the tracker sees it (BEP 24): a vote, not a fact
}

// ScrapeResult is what a tracker counts for one info-hash (BEP 48).
type ScrapeResult struct {
	Seeders, Leechers int
	Completed         int // downloads that ended since the tracker knows the torrent
}

// Transport makes single requests of single trackers. [Client] is the real one.
type Transport interface {
	// Announce sends r. A tracker that is reached over both IPv4 and IPv6 gives two answers: each
	// is passed to found as it comes (nil: not called), one at a time and before Announce returns
	// the sum of them. An answer that refuses is a *FailureError.
	Announce(ctx context.Context, tracker string, r Request, found func(Response)) (Response, error)
	// Scrape returns one result per info-hash, in their order. The error wraps
	// ErrNoScrape for trackers that have no scrape address.
	Scrape(ctx context.Context, tracker string, hashes ...[20]byte) ([]ScrapeResult, error)
}

// Causes of an error, for errors.Is.
var (
	// ErrURL: the tracker's URL cannot be used by anyone.
	ErrURL = errors.New("not a usable tracker URL")
	// ErrForbidden: the tracker's address must not be contacted on behalf of a torrent.
	ErrForbidden = guard.ErrForbidden
	// ErrResponse: the answer is not a tracker's.
	ErrResponse = errors.New("malformed tracker response")
	// ErrTooLarge: the answer exceeds 2 MiB, as sent or inflated.
	ErrTooLarge = errors.New("tracker response too large")
	// ErrTimeout: a UDP tracker did not answer.
	ErrTimeout = errors.New("tracker does not answer")
	// ErrNoScrape: BEP 48 derives no scrape address from this URL.
	ErrNoScrape = errors.New("tracker has no scrape address")
	// ErrClosed: the Client has been closed.
	ErrClosed = errors.New("tracker client closed")
)

// FailureError is a tracker's refusal.
type FailureError struct {
	Reason  string        // for the user, printable
	RetryIn time.Duration // ask again after this long (BEP 31, Retry-After); 0 if not given
	Never   bool          // never ask again (BEP 31)
}

func (e *FailureError) Error() string { return "tracker refused: " + e.Reason }

const (
	maxPeers = 2000 // addresses taken from one answer
	maxText  = 300  // bytes kept of a stranger's message
	maxID    = 1024 // bytes of a tracker id; a longer one is not sent back
)

// printable makes a stranger's text fit for one line of a log or a terminal.
func printable(s string) string { return safetext.Clip(s, maxText) }

// appendPeer appends the address if a peer could have it.
func appendPeer(peers []netip.AddrPort, addr netip.Addr, port uint16) []netip.AddrPort {
	addr = addr.Unmap()
	if port == 0 || !guard.IsReachable(addr) || len(peers) >= maxPeers {
		return peers
	}
	return append(peers, netip.AddrPortFrom(addr, port))
}

// appendCompact appends peers of the compact form: addrLen bytes of address and
// two of port each (BEP 23, BEP 7). A torn last entry is left out.
func appendCompact(peers []netip.AddrPort, b []byte, addrLen int) []netip.AddrPort {
	for stride := addrLen + 2; len(b) >= stride && len(peers) < maxPeers; b = b[stride:] {
		addr, ok := netip.AddrFromSlice(b[:addrLen])
		if !ok {
			return peers
		}
		peers = appendPeer(peers, addr, uint16(b[addrLen])<<8|uint16(b[addrLen+1]))
	}
	return peers
}
