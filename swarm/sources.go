package swarm

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"torrentfs/swarm/peers"
)

// sourceGroup runs the sources of one pool of peers, whichever tenant that has: a tracker
// hears of one start and one stop, and what is found between two tenants goes to the
// pool. It is the [PeerSink] that the sources know.
type sourceGroup struct {
	log  *slog.Logger
	all  []PeerSource
	ctx  context.Context
	stop context.CancelFunc // makes the sources say goodbye
	wg   sync.WaitGroup

	begin sync.Once
	mu    sync.Mutex // guards what follows; a leaf, but for the pool, which calls nobody
	who   poolTenant // the last one; its totals count on
	idle  *peers.Pool
}

// poolTenant is a tenant of a pool as its sources see it.
type poolTenant interface {
	Totals() (received, sent, left int64)
	Settled() <-chan struct{}
	// usePool runs f in the loop that owns the pool, and waits for it. It fails if that has ended.
	usePool(f func(p *peers.Pool, now time.Duration)) error
}

var _ PeerSink = (*sourceGroup)(nil)

func newSourceGroup(log *slog.Logger, all []PeerSource) *sourceGroup {
	ctx, stop := context.WithCancel(context.Background())
	return &sourceGroup{log: log, all: all, ctx: ctx, stop: stop}
}

// attach gives the sources a tenant, and starts them with the first one.
func (g *sourceGroup) attach(t poolTenant) {
	g.mu.Lock()
	g.who, g.idle = t, nil // before they begin: the first thing that they ask is how much lacks
	g.mu.Unlock()
	g.begin.Do(func() {
		for _, src := range g.all {
			g.wg.Go(func() {
				if err := src.Run(g.ctx, g); err != nil && g.ctx.Err() == nil {
					g.log.Warn("find peers: " + err.Error())
				}
			})
		}
	})
}

// park takes the pool in keeping until the next tenant is attached.
func (g *sourceGroup) park(p *peers.Pool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.idle = p
}

// close ends the sources, and waits until they have said goodbye. The tenant has ended.
func (g *sourceGroup) close() {
	g.stop()
	g.begin.Do(func() {}) // never begun: nothing to end
	g.wg.Wait()
}

// needPeers asks the sources for more.
func (g *sourceGroup) needPeers() {
	for _, src := range g.all {
		src.NeedPeers()
	}
}

// use tells the pool something.
func (g *sourceGroup) use(f func(p *peers.Pool, now time.Duration)) {
	for g.ctx.Err() == nil {
		g.mu.Lock()
		who, idle := g.who, g.idle
		if idle != nil {
			f(idle, time.Since(idle.Start()))
		}
		g.mu.Unlock()
		if idle != nil || who.usePool(f) == nil {
			return
		}
	}
}

// Found implements [PeerSink].
func (g *sourceGroup) Found(by Introducer, addrs []netip.AddrPort) {
	g.use(func(p *peers.Pool, now time.Duration) { p.Found(now, by, addrs) })
}

// SeenAt implements [PeerSink].
func (g *sourceGroup) SeenAt(by string, self netip.Addr) {
	g.use(func(p *peers.Pool, _ time.Duration) { p.SeenAt(by, self) })
}

// Totals implements [PeerSink].
func (g *sourceGroup) Totals() (received, sent, left int64) { return g.tenant().Totals() }

// Settled implements [PeerSink].
func (g *sourceGroup) Settled() <-chan struct{} { return g.tenant().Settled() }

func (g *sourceGroup) tenant() poolTenant {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.who
}
