package portmap

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"torrentfs/net/egress"
)

// Protocol is the transport of a mapping.
type Protocol uint8

// The transports.
const (
	TCP Protocol = iota
	UDP
)

func (p Protocol) String() string {
	if p == UDP {
		return "udp"
	}
	return "tcp"
}

// Mapping is a port of ours that peers are to reach.
type Mapping struct {
	Protocol Protocol
	Port     uint16
}

// Gateway is a router that was found, as one protocol for talking to it. Its
// methods end with ctx.
type Gateway interface {
	// Name says what it is, for logs.
	Name() string
	// Map makes or renews a mapping. external is the port wished for. It
	// returns the one that was given, and for how long; 0 means for ever.
	Map(ctx context.Context, m Mapping, external uint16, life time.Duration) (port uint16, granted time.Duration, err error)
	// Unmap removes a mapping that Map has made.
	Unmap(ctx context.Context, m Mapping, external uint16) error
	// External is the router's own address outside; it may be invalid if
	// the protocol tells it only with a mapping.
	External(ctx context.Context) (netip.Addr, error)
}

// Route is how this computer reaches the Internet.
type Route struct {
	Local, Gateway netip.Addr
	Network        *egress.Network // that packets to the gateway take; nil: the system's
}

// Config configures a Mapper. Mappings are required.
type Config struct {
	Mappings    []Mapping
	Description string // that the router shows its owner; empty means "torrentfs"
	// Mapped is called for each new mapping, with the external port, and an address if the router
	// names one. It must not block.
	Mapped func(m Mapping, external netip.AddrPort)
	Logger *slog.Logger // nil logs nothing

	Network *egress.Network // of everything that is sent; nil: the system's

	// What follows stands between the mapper and the network, for tests.
	Route    func() (Route, error)                             // nil asks the system
	Discover func(ctx context.Context, r Route) <-chan Gateway // nil tries all protocols; closed when all have been tried
}

const (
	life            = time.Hour       // of a mapping, as asked for
	shortestRenewal = 4 * time.Second // however short a life the router grants (RFC 6887, 11.2.1)
	longestRenewal  = 30 * time.Minute
	checkInterval   = time.Minute // between looks at the route
	discoverTimeout = 8 * time.Second
	requestTimeout  = 4 * time.Second
	farewellTimeout = 2 * time.Second // for removing everything
	firstRetry      = time.Minute     // after nothing was found; doubles
	longestRetry    = 30 * time.Minute
)

// Mapper keeps mappings. Its methods may be called from any goroutine.
type Mapper struct {
	cfg  Config
	look chan struct{} // holds one token

	// owned by Run
	route   Route
	gateway Gateway
	active  map[Mapping]uint16 // external ports
	renew   time.Time

	mu     sync.Mutex
	status Status
}

// Status is a snapshot of a Mapper.
type Status struct {
	Gateway  string     // protocol and router; empty if none was found
	External netip.Addr // the router's word for its address, if it gave one
	Mapped   map[Mapping]uint16
}

// New returns a mapper that does nothing before Run.
func New(cfg Config) *Mapper {
	if cfg.Description == "" {
		cfg.Description = "torrentfs"
	}
	if cfg.Mapped == nil {
		cfg.Mapped = func(Mapping, netip.AddrPort) {}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Route == nil {
		cfg.Route = func() (Route, error) { return systemRoute(cfg.Network) }
	}
	if cfg.Discover == nil {
		cfg.Discover = func(ctx context.Context, r Route) <-chan Gateway {
			return discover(ctx, r, cfg.Description, cfg.Logger)
		}
	}
	return &Mapper{cfg: cfg, look: make(chan struct{}, 1), active: make(map[Mapping]uint16)}
}

// Status takes a snapshot.
func (m *Mapper) Status() Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.status
}

// Run keeps the mappings until ctx ends, and removes them before it returns,
// which takes at most about two seconds. It is called once.
func (m *Mapper) Run(ctx context.Context) {
	retry := firstRetry
	var tried time.Time // when nothing was found
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			m.farewell(context.WithoutCancel(ctx))
			return
		case <-t.C:
		case <-m.look:
		}
		moved := m.moved()
		if moved {
			m.forget() // the mappings belong to a network that we have left
			retry = firstRetry
		}
		switch now := time.Now(); {
		case m.gateway != nil && now.Before(m.renew):
		case m.gateway == nil && !moved && !tried.IsZero() && now.Before(tried.Add(retry)):
		default:
			if m.attempt(ctx) {
				retry = firstRetry
				break
			}
			if !tried.IsZero() && !moved {
				retry = min(2*retry, longestRetry)
			}
			tried = time.Now()
		}
		t.Reset(m.nextLook())
	}
}

// NetworkChanged makes Run look at the route now. It does not block.
func (m *Mapper) NetworkChanged() {
	select {
	case m.look <- struct{}{}:
	default:
	}
}

// nextLook is how long nothing has to be done.
func (m *Mapper) nextLook() time.Duration {
	if m.gateway == nil {
		return checkInterval
	}
	return max(min(checkInterval, time.Until(m.renew)), time.Second)
}

// moved notes the route, and reports whether it is another than before.
func (m *Mapper) moved() bool {
	r, err := m.cfg.Route()
	if err != nil {
		m.cfg.Logger.Debug("find default route", "err", err)
		r = Route{Network: m.cfg.Network}
	}
	if r == m.route {
		return false
	}
	m.route = r
	return true
}

// attempt renews the mappings, or makes them with the first router that does,
// and reports whether there are any then.
func (m *Mapper) attempt(ctx context.Context) bool {
	if m.gateway != nil {
		if err := m.mapAll(ctx, m.gateway); err == nil {
			return true
		} else if ctx.Err() == nil {
			m.cfg.Logger.Debug("renew port mapping", "gateway", m.gateway.Name(), "err", err)
		}
		m.forget()
	}
	ctx, cancel := context.WithTimeout(ctx, discoverTimeout)
	defer cancel()
	found := m.cfg.Discover(ctx, m.route)
	ok := false
	for g := range found { // to its end: then nothing of it runs any more
		if ok || ctx.Err() != nil {
			continue
		}
		if err := m.mapAll(ctx, g); err != nil {
			m.cfg.Logger.Debug("map port", "gateway", g.Name(), "err", err)
			continue
		}
		ok = true
		cancel() // the other protocols may stop looking
	}
	return ok
}

// mapAll makes or renews all mappings. At least one must work out.
func (m *Mapper) mapAll(ctx context.Context, g Gateway) error {
	var errs []error
	shortest := longestRenewal
	made := make(map[Mapping]uint16)
	for _, mp := range m.cfg.Mappings {
		wish := mp.Port
		if had := m.active[mp]; had != 0 {
			wish = had
		}
		port, granted, err := m.mapOne(ctx, g, mp, wish)
		if err != nil {
			errs = append(errs, fmt.Errorf("map %v %d: %w", mp.Protocol, mp.Port, err))
			continue
		}
		made[mp] = port
		if granted > 0 {
			shortest = min(shortest, max(granted/2, shortestRenewal))
		}
	}
	if len(made) == 0 {
		if len(errs) == 0 {
			return errors.New("nothing to map")
		}
		return errors.Join(errs...)
	}
	m.gateway, m.renew = g, time.Now().Add(shortest)
	addr := m.externalOf(ctx, g)
	for mp, port := range made {
		if m.active[mp] != port {
			m.cfg.Logger.Debug("mapped port", "gateway", g.Name(), "protocol", mp.Protocol, "port", mp.Port, "external", port)
			m.cfg.Mapped(mp, netip.AddrPortFrom(addr, port))
		}
	}
	m.active = made
	m.publish(Status{Gateway: g.Name(), External: addr, Mapped: made})
	return nil
}

func (m *Mapper) mapOne(ctx context.Context, g Gateway, mp Mapping, wish uint16) (uint16, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	port, granted, err := g.Map(ctx, mp, wish, life)
	if err == nil && port == 0 {
		err = errors.New("router gave no port")
	}
	return port, granted, err
}

func (m *Mapper) externalOf(ctx context.Context, g Gateway) netip.Addr {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	addr, err := g.External(ctx)
	if err != nil {
		m.cfg.Logger.Debug("ask router for its address", "gateway", g.Name(), "err", err)
		return netip.Addr{}
	}
	if addr = addr.Unmap(); !addr.IsValid() || addr.IsUnspecified() || addr.IsMulticast() {
		return netip.Addr{}
	}
	return addr
}

func (m *Mapper) publish(s Status) {
	m.mu.Lock()
	m.status = s
	m.mu.Unlock()
}

// forget gives up a gateway without a word to it.
func (m *Mapper) forget() {
	m.gateway = nil
	clear(m.active)
	m.active = make(map[Mapping]uint16)
	m.publish(Status{})
}

// farewell removes the mappings.
func (m *Mapper) farewell(ctx context.Context) {
	if m.gateway == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, farewellTimeout)
	defer cancel()
	var wg sync.WaitGroup
	for mp, port := range m.active {
		wg.Go(func() {
			if err := m.gateway.Unmap(ctx, mp, port); err != nil {
				m.cfg.Logger.Debug("remove port mapping", "gateway", m.gateway.Name(), "err", err)
			}
		})
	}
	wg.Wait()
	m.forget()
}
