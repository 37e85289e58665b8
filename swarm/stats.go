package swarm

import (
	"net/netip"
	"slices"
	"time"
)

// Stats is a snapshot of a torrent.
type Stats struct {
	Pieces, Held, Doubtful int // numbers of pieces
	Peers, Seeds           int // connected; of them with every piece
	Unchoked               int // peers that let us download
	Unchoking              int // peers that we let download
	Known                  int // addresses

	DownRate, UpRate     float64 // payload, bytes per second
	Downloaded, Uploaded int64   // payload bytes since start
	Wasted               int64   // payload bytes received twice, unasked or wrong
	Taken                int64   // bytes that came from other torrents' files on this machine

	Blocked []BlockedRead // the oldest first
}

// BlockedRead is a read that waits for the swarm or for a check of the disk.
type BlockedRead struct {
	Label  any   // the reader's
	Offset int64 // in the piece space
	Length int
	Since  time.Time
	Reach  Reach // what it waits for; of the oldest read alone
}

// PeerStats is a snapshot of one connection.
type PeerStats struct {
	Addr               netip.AddrPort
	Client             string
	Pieces             int
	Outgoing           bool
	UTP                bool // not TCP
	Encrypted          bool // MSE was spoken; the payload may be plain all the same
	ChokingUs, WeChoke bool
	DownRate, UpRate   float64
	Received, Sent     int64
}

// measureRates ends an interval of all meters.
func (t *Torrent) measureRates() {
	seconds := t.traffic.measure(time.Now())
	for _, c := range t.peers {
		if c != nil {
			c.down.measure(seconds)
			sent := c.Sent()
			c.up.add(sent - c.lastSent)
			c.lastSent = sent
			c.up.measure(seconds)
		}
	}
	for _, w := range t.web.list {
		w.down.measure(seconds)
	}
}

// Totals are payload bytes received and sent since start, and about how many lack. Pads count as what surrounds them does.
func (t *Torrent) Totals() (received, sent, left int64) {
	lacking := t.info.NumPieces() - int(t.pieces.nHeld.Load())
	left = int64(float64(t.info.TotalLength()) * (float64(lacking) / float64(t.info.NumPieces())))
	return t.traffic.received.Load(), t.traffic.sent.Load(), left
}

// Stats takes a snapshot. After Close only the totals remain.
func (t *Torrent) Stats() Stats {
	s := Stats{Downloaded: t.traffic.received.Load(), Uploaded: t.traffic.sent.Load(), Pieces: t.info.NumPieces()}
	t.call(func() { t.fillStats(&s) })
	return s
}

func (t *Torrent) fillStats(s *Stats) {
	s.Held, s.Doubtful, s.Wasted, s.Taken = int(t.pieces.nHeld.Load()), t.pieces.Doubtful(), t.pieces.wasted, t.pieces.Taken()
	s.DownRate, s.UpRate = t.traffic.down.rate, t.traffic.up.rate
	s.Known = t.pool.Known()
	for _, c := range t.peers {
		if c == nil {
			continue
		}
		s.Peers++
		if c.isSeed() {
			s.Seeds++
		}
		if !c.peerChoking {
			s.Unchoked++
		}
		if !c.choking {
			s.Unchoking++
		}
	}
	for d := range t.reads.all {
		s.Blocked = append(s.Blocked, BlockedRead{Label: d.label, Offset: d.off, Length: d.n, Since: d.since})
	}
	slices.SortFunc(s.Blocked, func(a, b BlockedRead) int { return a.Since.Compare(b.Since) })
	if len(s.Blocked) > 0 {
		oldest := &s.Blocked[0]
		oldest.Reach = t.reach(t.info.PieceOf(oldest.Offset), t.info.PieceOf(oldest.Offset+int64(oldest.Length)-1))
	}
}

// Peers takes a snapshot of the connections.
func (t *Torrent) Peers() (peers []PeerStats) {
	t.call(func() {
		for _, c := range t.peers {
			if c != nil {
				peers = append(peers, PeerStats{
					Addr: c.Addr, Client: c.client, Pieces: c.remoteCount, Outgoing: c.Outgoing, UTP: c.UTP, Encrypted: c.Encrypted,
					ChokingUs: c.peerChoking, WeChoke: c.choking, DownRate: c.down.rate, UpRate: c.up.rate,
					Received: c.Received(), Sent: c.Sent(),
				})
			}
		}
	})
	return peers
}

// Held is a snapshot of the committed pieces: piece i is bit i%64 of word i/64.
func (t *Torrent) Held() (held []uint64) {
	t.call(func() { held = append(held, t.pieces.Committed()...) })
	return held
}

// WebSeedStats is a snapshot of one web seed.
type WebSeedStats struct {
	Host     string // empty while it was never needed
	Active   bool   // it may be asked, now or when it ceases to choke
	Choked   bool   // it wants to be left alone for a while
	Banned   bool
	Rate     float64 // bytes per second
	Received int64   // bytes since start
	Err      error   // why it is not used; nil where that is not its fault
}

// WebSeeds takes a snapshot of the web seeds.
func (t *Torrent) WebSeeds() (all []WebSeedStats) {
	t.call(func() {
		for _, w := range t.web.list {
			s := WebSeedStats{
				Active: w.live, Choked: w.live && w.choked, Banned: w.banned,
				Rate: w.down.rate, Received: w.received, Err: w.err,
			}
			if w.seed != nil {
				s.Host = w.seed.Host()
			}
			all = append(all, s)
		}
	})
	return all
}
