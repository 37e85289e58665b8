package webseed

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"torrentfs/net/guard"
)

// Seed is a web server that has a torrent. Its methods may be called from any
// goroutine.
type Seed struct {
	cfg      Config
	loc      location
	clients  []*http.Client // one for each worker: one connection each
	work     chan struct{}  // wakes workers
	refusals chan struct{}  // wakes Run
	failed   chan *failure

	mu      sync.Mutex
	queue   []request
	queued  map[request]bool // the same
	refused []request
	runs    map[*run]bool
	parked  int              // connections that were too many for the server
	unpark  chan struct{}    // closed when they may be tried again
	missing map[int]bool     // files that the server does not have
	moved   map[int]*url.URL // files that are elsewhere
	choked  bool
	ended   bool
	stats   meter
}

// failure is why a run was not fetched.
type failure struct {
	err   error
	retry time.Duration // as the server wishes; 0 if it says nothing
	fatal bool          // the server will never be of use
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// New returns a seed that connects to nothing before it is asked for blocks. The error wraps ErrURL
// or [guard.ErrForbidden] if the URL is at fault.
func New(cfg Config) (*Seed, error) {
	cfg = cfg.withDefaults()
	loc, err := parseLocation(cfg.URL, cfg.Info, cfg.Pieces, cfg.Dialer.Trusts)
	if err != nil {
		return nil, err
	}
	s := &Seed{
		cfg:      cfg,
		loc:      loc,
		work:     make(chan struct{}, cfg.conns),
		refusals: make(chan struct{}, 1),
		failed:   make(chan *failure, cfg.conns),
		queued:   make(map[request]bool),
		runs:     make(map[*run]bool),
		unpark:   make(chan struct{}),
		missing:  make(map[int]bool),
		moved:    make(map[int]*url.URL),
	}
	for range cfg.conns {
		s.clients = append(s.clients, s.newClient())
	}
	return s, nil
}

// newClient makes a client for one connection.
func (s *Seed) newClient() *http.Client {
	cfg := &s.cfg
	return &http.Client{
		Transport: &http.Transport{
			DialContext:            cfg.Dialer.DialContext,
			TLSHandshakeTimeout:    headerTimeout,
			ResponseHeaderTimeout:  headerTimeout,
			MaxIdleConnsPerHost:    1,
			IdleConnTimeout:        90 * time.Second,
			DisableCompression:     true,
			MaxResponseHeaderBytes: 64 << 10,
			ReadBufferSize:         64 << 10,
		},
		CheckRedirect: s.checkRedirect,
	}
}

// Host is the server's name, for logs and statistics: the rest of a URL may
// hold a password.
func (s *Seed) Host() string { return s.loc.base.Host }

// checkRedirect bounds the hops and holds each to the rules for the first. A server may not send us
// to another one inside the user's network, even if it is inside itself, and to itself only for a
// file; the dialer refuses names that lead there.
func (s *Seed) checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("follow redirect: more than %d hops: %w", maxRedirects, ErrResponse)
	}
	u := req.URL
	if u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("follow redirect: %w", ErrURL)
	}
	if err := guard.CheckName(u.Hostname()); err != nil {
		return fmt.Errorf("follow redirect: %w", err)
	}
	if guard.IsLocalName(u.Hostname()) && !s.cfg.Dialer.Trusts(u.Hostname()) && !s.mayAskLocally(u) {
		return fmt.Errorf("follow redirect: %w", guard.ErrForbidden)
	}
	*req = *req.WithContext(guard.WithLocal(req.Context(), s.mayAskLocally(u)))
	req.Header.Del("Referer")
	return nil
}

// mayAskLocally reports whether a server inside the user's network may be asked for
// a URL: the one that the torrent spelled out, for a file.
func (s *Seed) mayAskLocally(u *url.URL) bool {
	return s.loc.local && u.Host == s.loc.base.Host && guard.IsFile(u)
}

// Run answers requests until ctx ends (nil), or until the server turns out to
// be useless (an error). It rejects what is left before it returns. It is
// called once.
func (s *Seed) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var workers sync.WaitGroup
	for _, client := range s.clients {
		workers.Go(func() {
			defer client.CloseIdleConnections()
			s.fetchAll(ctx, client)
		})
	}
	err := s.tend(ctx)
	cancel()
	workers.Wait()
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.reject(true)
	return err
}

// fetchAll is a worker, with one connection of its own.
func (s *Seed) fetchAll(ctx context.Context, client *http.Client) {
	for {
		f, runCtx := s.take(ctx)
		if f == nil {
			return
		}
		f.client = client
		if again := s.serve(ctx, runCtx, f); again != nil {
			client.CloseIdleConnections() // it counts, too
			select {
			case <-again:
			case <-ctx.Done():
				return
			}
		}
	}
}

// tend is Run without what begins and ends it.
func (s *Seed) tend(ctx context.Context) error {
	var (
		backoff = firstBackoff
		again   <-chan time.Time // while choked
		since   int64            // bytes received when last choked
	)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.refusals:
			s.reject(false)
		case f := <-s.failed:
			if f.fatal {
				return fmt.Errorf("fetch from web seed %s: %w", s.Host(), f.err)
			}
			if again != nil {
				continue // of a connection that was slower to notice
			}
			if got := s.Stats().Received; got > since {
				since, backoff = got, firstBackoff
			}
			wait := f.retry
			if wait == 0 {
				wait, backoff = backoff, min(2*backoff, longestBackoff)
			}
			s.cfg.Logger.Debug("web seed fails", "host", s.Host(), "err", f.err, "retry", wait)
			again = time.After(wait)
			s.choke(true)
		case <-again:
			again = nil
			s.choke(false)
		}
	}
}

func (s *Seed) choke(choked bool) {
	s.mu.Lock()
	s.choked = choked
	if choked {
		s.parked = 0 // nothing worked at all: how many it takes has to be found out again
		close(s.unpark)
		s.unpark = make(chan struct{})
	}
	s.mu.Unlock()
	if choked {
		s.cfg.Handler.Choke(true)
		s.reject(true)
		return
	}
	s.cfg.Handler.Choke(false)
}

// serve fetches a run, and reports a failure that is the server's. That it is useless counts even
// if the run is no longer wanted: once told that all files lack, the engine takes its requests
// back. again is not nil if the connection was one too many, and is closed when it may be tried
// again.
func (s *Seed) serve(ctx, runCtx context.Context, f *run) (again <-chan struct{}) {
	err := s.fetch(runCtx, f)
	fail, ok := errors.AsType[*failure](err)
	if ok && fail.fatal {
		s.finish(f)
		select {
		case s.failed <- fail:
		case <-ctx.Done():
		}
		return nil
	}
	canceled := runCtx.Err() != nil && context.Cause(runCtx) == context.Canceled
	if err == nil || canceled || errors.Is(err, errLost) {
		s.finish(f)
		return nil
	}
	if again = s.fewer(f, err); again != nil {
		return again
	}
	s.mu.Lock()
	s.choked = true // no worker begins another run before tend knows
	s.mu.Unlock()
	s.finish(f)
	if !ok {
		fail = &failure{err: err}
	}
	select {
	case s.failed <- fail:
	default: // tend has enough of them to read
	}
	return nil
}

// fewer takes the failure of a run for that of one connection too many, if others are under way:
// with any answer of a server that allows few (503, 429, a reset), these go on, and take over what
// the run was for. It returns what is closed when the connection may be tried again, nil if that is
// not so.
func (s *Seed) fewer(f *run, err error) (again <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	working := len(s.runs) > 1 || s.stats.total-f.before > f.received // by others
	if !working || s.parked == s.cfg.conns-1 || s.choked || s.ended {
		return nil
	}
	s.parked++
	s.requeue(f)
	f.cancel()
	s.signal() // to another worker
	s.cfg.Logger.Debug("web seed takes fewer connections", "host", s.Host(), "conns", s.cfg.conns-s.parked, "err", err)
	return s.unpark
}
