package library

import (
	"context"
	"net/netip"
	"sync/atomic"
	"time"

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
	late := !settledWithin(ctx, w, settlePatience)
	a := announce.New(cfg)
	s.announcer.Store(a)
	if !late {
		return a.Run(ctx)
	}
	told := make(chan struct{})
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer close(told)
		select {
		case <-w.Settled(): // we may be a seeder now: say so as soon as the trackers allow
			a.NeedPeers()
		case <-ctx.Done():
		}
	}()
	err := a.Run(ctx)
	cancel()
	<-told
	return err
}

// settlePatience is how long the first announce waits for data on disk to be
// hashed, so that a seeder does not begin by calling itself a leecher.
const settlePatience = 3 * time.Second

func settledWithin(ctx context.Context, w swarm.Seeker, patience time.Duration) bool {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-w.Settled():
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
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
