package lsd

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Intervals of BEP 14.
const (
	Interval = 5 * time.Minute // between two announces of a torrent
	Pause    = time.Minute     // between two packets to a group

	// gather is how long a new torrent waits for others to share its packet.
	gather = 100 * time.Millisecond

	// Packets of others that are looked at, per second and group.
	heardRate  = 50
	heardBurst = 200
)

// Config configures a service.
type Config struct {
	Groups []Group // the service closes them
	Port   uint16  // we listen for peers on it
	// Found is called for each peer; it must not block. It is called from the receiving goroutines.
	// infoHash is one of those that were added.
	Found  func(infoHash [20]byte, peer netip.AddrPort)
	Logger *slog.Logger // nil: silent
}

// Service announces torrents and listens. Make it with [New], and let it [Run].
type Service struct {
	// Immutable.
	cfg    Config
	log    *slog.Logger
	cookie string
	wake   chan struct{} // cap 1: the set of torrents has changed

	mu       sync.Mutex // guards torrents; a leaf
	torrents map[[20]byte]*schedule
}

// schedule is when a torrent was announced last, for each group; zero: never.
type schedule struct{ announced []time.Time }

// New returns a service that has no torrents yet and does nothing before [Service.Run].
func New(cfg Config) *Service {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return &Service{
		cfg: cfg, log: cfg.Logger, cookie: hex.EncodeToString(b[:]),
		wake: make(chan struct{}, 1), torrents: make(map[[20]byte]*schedule),
	}
}

// Add announces a torrent from now on, and reports its peers. Private torrents
// must not be added (BEP 27).
func (s *Service) Add(infoHash [20]byte) {
	s.mu.Lock()
	if s.torrents[infoHash] == nil {
		s.torrents[infoHash] = &schedule{announced: make([]time.Time, len(s.cfg.Groups))}
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Remove forgets a torrent.
func (s *Service) Remove(infoHash [20]byte) {
	s.mu.Lock()
	delete(s.torrents, infoHash)
	s.mu.Unlock()
}

// Run announces and listens until ctx ends. It closes the groups and returns
// when all its goroutines have ended. It may be called once.
func (s *Service) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, g := range s.cfg.Groups {
		wg.Go(func() { s.listen(ctx, g) })
	}
	last := make([]time.Time, len(s.cfg.Groups)) // packet to each group
	timer := time.NewTimer(gather)
	defer timer.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-s.wake:
			timer.Reset(gather)
		case <-timer.C:
			timer.Reset(s.announce(last))
		}
	}
	for _, g := range s.cfg.Groups {
		_ = g.Close()
	}
	wg.Wait()
	return ctx.Err()
}

// announce sends the announces that are due, and returns when to look again.
func (s *Service) announce(last []time.Time) time.Duration {
	next := Interval
	now := time.Now()
	for i, g := range s.cfg.Groups {
		if wait := Pause - now.Sub(last[i]); wait > 0 {
			next = min(next, wait)
			continue
		}
		a := Announce{Host: g.Addr(), Port: s.cfg.Port, Cookie: s.cookie}
		due, wait := s.due(i, now, a.Capacity())
		if next = min(next, wait); len(due) == 0 {
			continue
		}
		a.InfoHashes = due
		last[i] = now
		next = min(next, Pause)
		if err := g.Send(a.Append(nil)); err != nil {
			// No network, most likely: the torrents keep their turn of before
			// and go out when the next packet may.
			s.log.Debug("local peers were not told", "group", g.Addr(), "err", err)
			continue
		}
		s.announced(i, now, due)
	}
	return next
}

// due returns up to n torrents whose turn it is in group i, those first that
// have waited longest, and when the next one's is.
func (s *Service) due(i int, now time.Time, n int) (hashes [][20]byte, next time.Duration) {
	type turn struct {
		hash [20]byte
		last time.Time
	}
	next = Interval
	var turns []turn
	s.mu.Lock()
	for h, sch := range s.torrents {
		if wait := Interval - now.Sub(sch.announced[i]); wait > 0 {
			next = min(next, wait)
			continue
		}
		turns = append(turns, turn{h, sch.announced[i]})
	}
	s.mu.Unlock()
	slices.SortFunc(turns, func(a, b turn) int {
		return cmp.Or(a.last.Compare(b.last), bytes.Compare(a.hash[:], b.hash[:]))
	})
	for _, t := range turns[:min(n, len(turns))] {
		hashes = append(hashes, t.hash)
	}
	return hashes, next
}

func (s *Service) announced(i int, now time.Time, hashes [][20]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range hashes {
		if sch := s.torrents[h]; sch != nil {
			sch.announced[i] = now
		}
	}
}

// listen receives from one group until it is closed.
func (s *Service) listen(ctx context.Context, g Group) {
	limit := rate.NewLimiter(heardRate, heardBurst)
	buf := make([]byte, maxDatagram+1) // a longer one is seen to be too long
	for {
		n, from, err := g.Receive(buf)
		switch {
		case err == nil:
			if limit.Allow() {
				s.heard(buf[:n], from)
			}
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return
		default:
			s.log.Debug("local peers are not heard", "group", g.Addr(), "err", fmt.Errorf("receive: %w", err))
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
				return
			}
		}
	}
}

// heard takes one datagram.
func (s *Service) heard(b []byte, from netip.AddrPort) {
	a, err := Parse(b)
	if err != nil || a.Cookie == s.cookie || !from.Addr().IsValid() || from.Addr().IsMulticast() || from.Addr().IsUnspecified() {
		return
	}
	peer := netip.AddrPortFrom(from.Addr(), a.Port) // only the port is taken from the message
	for _, h := range a.InfoHashes {
		s.mu.Lock()
		ours := s.torrents[h] != nil
		s.mu.Unlock()
		if ours {
			s.cfg.Found(h, peer)
		}
	}
}
