package library

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"torrentfs/metainfo"
	"torrentfs/swarm"
	"torrentfs/swarm/announce"
)

// peerSources are the ways in which the peers of one torrent are found.
type peerSources struct {
	trackers *trackers          // nil: not announced
	others   []swarm.PeerSource // none for a private torrent (BEP 27)
}

// newSources are the peer sources of a torrent whose metadata may not be known
// yet, and may then turn out to be private.
func (l *Library) newSources(hash metainfo.InfoHash, name string, tiers [][]string, private, noTrackers bool) (s peerSources) {
	if len(tiers) > 0 && !noTrackers {
		s.trackers = l.newTrackers(hash, name, tiers, private)
	}
	if !private {
		s.others = l.discover.sources(hash, l.port)
	}
	return s
}

// all is what a session is to run.
func (s peerSources) all() []swarm.PeerSource {
	if s.trackers == nil {
		return s.others
	}
	return append([]swarm.PeerSource{s.trackers}, s.others...)
}

// trackers makes a torrent's announces a source of peers.
type trackers struct {
	cfg       announce.Config
	announcer atomic.Pointer[announce.Announcer] // nil before Run
	twin      *trackers                          // of a hybrid: the same trackers, under its v2 hash
}

var _ swarm.Regainer = (*trackers)(nil)

func (l *Library) newTrackers(hash metainfo.InfoHash, name string, tiers [][]string, private bool) *trackers {
	cfg := announce.Config{
		Trackers: tiers, InfoHash: hash.Wire(), PeerID: l.session.PeerID(),
		Port: l.announcedPort(), Key: l.key, Private: private, Trust: l.cfg.Network.trust(),
		Transport: l.trackers, Logger: l.log.With("torrent", name),
	}
	s := &trackers{cfg: cfg}
	if hash.HasV1 && hash.HasV2 {
		s.twin = &trackers{cfg: cfg}
		s.twin.cfg.InfoHash = hash.WireV2()
		s.twin.cfg.Logger = cfg.Logger.With("swarm", "v2") // it says the same again
	}
	return s
}

// Run announces until ctx ends: a hybrid to both of its swarms (BEP 52).
func (s *trackers) Run(ctx context.Context, w swarm.PeerSink) error {
	var twin sync.WaitGroup
	if s.twin != nil {
		twin.Go(func() { _ = s.twin.Run(ctx, w) })
	}
	defer twin.Wait()
	cfg := s.cfg
	cfg.Found = func(tracker string, peers []netip.AddrPort) {
		w.Found(swarm.Introducer{Kind: swarm.ByTracker, Name: hostOf(tracker)}, peers)
	}
	cfg.ExternalIP = func(tracker string, self netip.Addr) {
		w.SeenAt(hostOf(tracker), self)
	}
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

func settledWithin(ctx context.Context, w swarm.PeerSink, patience time.Duration) bool {
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

// hostOf is whose voice a tracker's is: of many URLs of one host there is one.
func hostOf(tracker string) string {
	u, err := url.Parse(tracker)
	if err != nil {
		return tracker
	}
	return u.Hostname()
}

// NeedPeers asks the working trackers again as soon as they allow.
func (s *trackers) NeedPeers() {
	if a := s.announcer.Load(); a != nil {
		a.NeedPeers()
	}
	if s.twin != nil {
		s.twin.NeedPeers()
	}
}

// Incomplete implements [swarm.Regainer]: it tells the trackers that pieces lack again.
func (s *trackers) Incomplete() {
	if a := s.announcer.Load(); a != nil {
		a.Incomplete()
	}
	if s.twin != nil {
		s.twin.Incomplete()
	}
}

// completed tells the trackers that the download has just become complete.
func (s *trackers) completed() {
	if a := s.announcer.Load(); a != nil {
		a.Completed()
	}
	if s.twin != nil {
		s.twin.completed()
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
			NextAnnounce: s.Next, Working: s.State == announce.Working, Err: s.Err, Warning: s.Warning,
		}
	}
	if s.twin != nil {
		for _, o := range s.twin.status() { // the trackers are the same, in whatever order
			if k := slices.IndexFunc(out, func(s TrackerStatus) bool { return s.URL == o.URL }); k >= 0 {
				out[k].join(o)
			}
		}
	}
	return out
}

// join adds what the tracker says of a hybrid's other swarm. Clients that speak
// both versions are in both, so the larger count is the nearer one.
func (s *TrackerStatus) join(o TrackerStatus) {
	s.Seeders, s.Leechers, s.Peers = max(s.Seeders, o.Seeders), max(s.Leechers, o.Leechers), max(s.Peers, o.Peers)
	s.Working = s.Working || o.Working
	if o.Err == nil {
		s.Err = nil // it works
	}
	if !o.NextAnnounce.IsZero() && o.NextAnnounce.Before(s.NextAnnounce) {
		s.NextAnnounce = o.NextAnnounce
	}
}

// trackerTrouble says what is wrong with trackers: the warning of one that works, or
// why none does, refusals first.
func trackerTrouble(all []TrackerStatus) string {
	var warning, refusal, silence string
	for _, s := range all {
		switch {
		case s.Working:
			if s.Warning != "" && warning == "" {
				warning = "tracker " + announce.DisplayURL(s.URL) + " warns: " + s.Warning
			}
		case s.Err == nil: // not asked yet
		case errors.As(s.Err, new(*announce.FailureError)):
			refusal = cmp.Or(refusal, s.Err.Error())
		default:
			silence = cmp.Or(silence, s.Err.Error())
		}
	}
	working := slices.ContainsFunc(all, func(s TrackerStatus) bool { return s.Working })
	pending := slices.ContainsFunc(all, func(s TrackerStatus) bool { return !s.Working && s.Err == nil })
	switch {
	case working:
		return warning
	case refusal != "":
		return refusal
	case pending:
		return ""
	}
	return silence
}

// trackerTrouble is that of a torrent's trackers.
func (t *Torrent) trackerTrouble() string {
	if t.sources.trackers == nil {
		return ""
	}
	return trackerTrouble(t.sources.trackers.status())
}

// trackersText says how many trackers answer, and what is wrong with them.
func (t *Torrent) trackersText() string {
	if t.sources.trackers == nil {
		return "none"
	}
	all := t.sources.trackers.status()
	working := 0
	for _, s := range all {
		if s.Working {
			working++
		}
	}
	text := fmt.Sprintf("%d of %d answer", working, len(all))
	if trouble := trackerTrouble(all); trouble != "" {
		text += ": " + trouble
	}
	return text
}

// share is about how many bytes of real files lie in so many pieces.
func share(info *metainfo.Info, pieces int) int64 {
	if n := info.NumPieces(); n > 0 {
		return int64(float64(info.TotalLength()) * (float64(pieces) / float64(n)))
	}
	return 0
}
