package library

import (
	"context"
	"net/netip"
	"sync/atomic"

	"torrentfs/metainfo"
	"torrentfs/swarm"
	"torrentfs/swarm/announce"
)

// trackers makes a torrent's announces a source of peers.
type trackers struct {
	cfg       announce.Config
	announcer atomic.Pointer[announce.Announcer] // nil before Run
}

var _ swarm.PeerSource = (*trackers)(nil)

func (l *Library) newTrackers(hash metainfo.InfoHash, name string, tiers [][]string, private bool) *trackers {
	return &trackers{cfg: announce.Config{
		Trackers: tiers, InfoHash: hash.Wire(), PeerID: l.session.PeerID(),
		Port: uint16(l.port), Key: l.key, Private: private,
		Transport: l.trackers, Logger: l.log.With("torrent", name),
	}}
}

// Run announces until ctx ends.
func (s *trackers) Run(ctx context.Context, w swarm.Seeker) error {
	cfg := s.cfg
	cfg.Found = func(_ string, peers []netip.AddrPort) { w.Found(peers) }
	cfg.Stats = func() announce.Stats {
		received, sent, left := w.Totals()
		return announce.Stats{Uploaded: sent, Downloaded: received, Left: left}
	}
	a := announce.New(cfg)
	s.announcer.Store(a)
	return a.Run(ctx)
}

// NeedPeers asks the working trackers again as soon as they allow.
func (s *trackers) NeedPeers() {
	if a := s.announcer.Load(); a != nil {
		a.NeedPeers()
	}
}

// completed tells the trackers that the download has just become complete.
func (s *trackers) completed() {
	if a := s.announcer.Load(); a != nil {
		a.Completed()
	}
}

func (s *trackers) status() []TrackerStatus {
	a := s.announcer.Load()
	if a == nil {
		return nil
	}
	all := a.Status()
	out := make([]TrackerStatus, len(all))
	for i, s := range all {
		out[i] = TrackerStatus{
			URL: s.URL, Tier: s.Tier, Seeders: s.Seeders, Leechers: s.Leechers, Peers: s.Peers,
			NextAnnounce: s.Next, Err: s.Err,
		}
	}
	return out
}

// share is about how many bytes of real files lie in so many pieces.
func share(info *metainfo.Info, pieces int) int64 {
	if n := info.NumPieces(); n > 0 {
		return int64(float64(info.TotalLength()) * (float64(pieces) / float64(n)))
	}
	return 0
}
