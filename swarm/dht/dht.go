package dht

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"
)

// ErrClosed is returned by the methods of a closed DHT.
var ErrClosed = errors.New("DHT is closed")

const saveInterval = 15 * time.Minute

// DHT is our place in the DHT. Its methods may be called from any goroutine.
type DHT struct {
	cfg    Config
	nodes  []*node // one for each family
	closed chan struct{}

	mu      sync.Mutex
	ended   bool
	running sync.WaitGroup // Run and Announce calls
}

// New returns a DHT that does nothing before Run. It owns the sockets from then on, even if it
// returns an error.
func New(cfg Config) (*DHT, error) {
	d := &DHT{cfg: cfg.withDefaults(), closed: make(chan struct{})}
	var v4, v6 saved
	if d.cfg.StateFile != "" {
		var err error
		if v4, v6, err = readState(d.cfg.StateFile); err != nil {
			d.cfg.Logger.Warn("start DHT afresh", "err", err)
		}
	}
	rnd := func() *rand.Rand { return rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())) }
	if cfg.IPv4 != nil {
		d.nodes = append(d.nodes, newNode(&d.cfg, cfg.IPv4, false, v4, rnd()))
	}
	if cfg.IPv6 != nil {
		d.nodes = append(d.nodes, newNode(&d.cfg, cfg.IPv6, true, v6, rnd()))
	}
	switch len(d.nodes) {
	case 0:
		return nil, errors.New("start DHT: no socket")
	case 2:
		d.nodes[0].join(d.nodes[1])
		d.nodes[1].join(d.nodes[0])
	}
	return d, nil
}

// enter counts a call that Close is to wait for.
func (d *DHT) enter() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		return false
	}
	d.running.Add(1)
	return true
}

// Run is a node of the DHT until ctx ends or Close is called, and saves the
// nodes that it knows before it returns. It is called once.
func (d *DHT) Run(ctx context.Context) error {
	if !d.enter() {
		return ErrClosed
	}
	defer d.running.Done()
	ctx, cancel := d.whileOpen(ctx)
	defer cancel()

	var wg sync.WaitGroup
	for _, n := range d.nodes {
		wg.Go(func() { n.run(ctx) })
	}
	t := time.NewTicker(saveInterval)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			d.save()
		case <-ctx.Done():
			wg.Wait()
			d.save()
			return nil
		}
	}
}

// whileOpen returns a context that ends with ctx and with the DHT.
func (d *DHT) whileOpen(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := make(chan struct{})
	var once sync.Once
	d.running.Go(func() {
		select {
		case <-d.closed:
			cancel()
		case <-stop:
		}
	})
	return ctx, func() { once.Do(func() { close(stop) }); cancel() }
}

// Close ends Run and every Announce, waits for them, and closes the sockets.
func (d *DHT) Close() error {
	d.mu.Lock()
	if d.ended {
		d.mu.Unlock()
		return nil
	}
	d.ended = true
	close(d.closed)
	d.mu.Unlock()
	d.running.Wait()
	var errs []error
	for _, n := range d.nodes {
		errs = append(errs, n.conn.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close DHT: %w", err)
	}
	return nil
}

// save writes the state file, unless nothing is known that is worth it: a day
// without a network must not cost the nodes of the day before.
func (d *DHT) save() {
	if d.cfg.StateFile == "" {
		return
	}
	var families [2]saved
	known := 0
	for _, n := range d.nodes {
		i := 0
		if n.v6 {
			i = 1
		}
		families[i] = n.save()
		known += len(families[i].nodes)
	}
	if known == 0 {
		return
	}
	if err := writeState(d.cfg.StateFile, families[0], families[1]); err != nil {
		d.cfg.Logger.Warn("save DHT nodes", "err", err)
	}
}

// AddNode adds an address that may be a node's: a peer that sent a PORT message (BEP 5). It is
// asked when there is room for it. AddNode does not block.
func (d *DHT) AddNode(addr netip.AddrPort) {
	addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
	if !usable(addr) {
		return
	}
	for _, n := range d.nodes {
		if n.v6 == addr.Addr().Is6() {
			n.hint(addr)
		}
	}
}

// AddHost tells of a node by "host:port", as a torrent's key "nodes" does
// (BEP 5). A name that leads to a private address is not followed. AddHost
// does not block.
func (d *DHT) AddHost(hostport string) {
	for _, n := range d.nodes {
		select {
		case n.hosts <- hostport:
		default: // others are being asked
		}
	}
}

// NetworkChanged reports that this computer is in another network: if too few nodes are known, they
// are looked for at once. It does not block.
func (d *DHT) NetworkChanged() {
	for _, n := range d.nodes {
		select {
		case n.moved <- struct{}{}:
		default: // is known
		}
	}
}

// Stats takes a snapshot.
func (d *DHT) Stats() (s Stats) {
	for _, n := range d.nodes {
		if n.v6 {
			s.IPv6 = n.stats()
		} else {
			s.IPv4 = n.stats()
		}
	}
	return s
}
