package library

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"

	"torrentfs/metainfo"
	"torrentfs/swarm"
	"torrentfs/swarm/dht"
	"torrentfs/swarm/egress"
	"torrentfs/swarm/lsd"
	"torrentfs/swarm/portmap"
	"torrentfs/swarm/udpport"
)

// Discovery says how peers are found beside trackers; the zero value not at
// all. Private torrents are never looked for this way (BEP 27).
type Discovery struct {
	DHT          bool     // ask the DHT (BEP 5), over IPv4 and IPv6
	DHTBootstrap []string // nodes to begin with, "host:port"; nil is dht.DefaultBootstrap
	DHTState     string   // file that keeps its nodes for the next time; "" keeps none
	LSD          bool     // ask the local network (BEP 14)
	PortMap      bool     // ask the router to let peers in (UPnP, NAT-PMP, PCP)
}

// discovery runs what [Discovery] asks for, for all torrents of a library. It
// works in the background; nothing waits for it.
type discovery struct {
	dht   *dht.DHT        // nil: off
	lsd   *lsd.Service    // nil: off
	ports *portmap.Mapper // nil: off

	stop context.CancelFunc
	wg   sync.WaitGroup

	mu    sync.Mutex // guards what follows; a leaf
	local map[[20]byte]swarm.Seeker
}

// openDHT makes the node, which does nothing before run. Where the port has no
// address of a family, that one is left out.
func (d *discovery) openDHT(cfg Discovery, way *egress.Way, port *udpport.Port, blocked func(netip.Addr) bool, log *slog.Logger) {
	if cfg.DHTState != "" {
		_ = os.MkdirAll(filepath.Dir(cfg.DHTState), 0o755) // saving says so where it fails
	}
	var err error
	d.dht, err = dht.New(dht.Config{
		IPv4: port.IPv4(), IPv6: port.IPv6(), Bootstrap: cfg.DHTBootstrap, StateFile: cfg.DHTState,
		Ignore: blocked, Lookup: way.LookupNetIP, Logger: log.With("from", "dht"),
	})
	if err != nil {
		d.dht = nil
		log.Warn("there is no DHT", "err", err)
	}
}

// openLSD joins the groups of the local network. port is where peers reach us.
func (d *discovery) openLSD(way *egress.Way, port int, log *slog.Logger) {
	groups, err := lsd.Groups(way, nil)
	if len(groups) == 0 {
		log.Debug("no local service discovery", "err", err)
		return
	}
	d.lsd = lsd.New(lsd.Config{Groups: groups, Port: uint16(port), Found: d.foundLocally, Logger: log.With("from", "lsd")})
}

// openPorts makes the mapper of the ports that peers and nodes come to: one
// number, but where others have that for UDP. udp is 0 where there is none.
func (d *discovery) openPorts(way *egress.Way, tcp, udp uint16, log *slog.Logger) {
	c := portmap.Config{
		Mappings: []portmap.Mapping{{Protocol: portmap.TCP, Port: tcp}},
		Mapped: func(m portmap.Mapping, external netip.AddrPort) {
			log.Info("the router lets peers in", "protocol", m.Protocol.String(), "port", m.Port, "external", external.String())
		},
		Way:    way,
		Logger: log.With("from", "portmap"),
	}
	if udp != 0 {
		c.Mappings = append(c.Mappings, portmap.Mapping{Protocol: portmap.UDP, Port: udp})
	}
	d.ports = portmap.New(c)
}

// run starts what was opened.
func (d *discovery) run(log *slog.Logger) {
	ctx, stop := context.WithCancel(context.Background())
	d.stop = stop
	if d.dht != nil {
		d.wg.Go(func() {
			if err := d.dht.Run(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, dht.ErrClosed) {
				log.Warn("the DHT ended", "err", err)
			}
		})
	}
	if d.ports != nil {
		d.wg.Go(func() { d.ports.Run(ctx) })
	}
	if d.lsd != nil {
		d.wg.Go(func() {
			if err := d.lsd.Run(ctx); err != nil && ctx.Err() == nil {
				log.Warn("local service discovery ended", "err", err)
			}
		})
	}
}

func (d *discovery) close() error {
	d.stop()
	d.wg.Wait()
	if d.dht != nil {
		return d.dht.Close()
	}
	return nil
}

// foundLocally hands a peer of the local network to who wants it.
func (d *discovery) foundLocally(infoHash [20]byte, peer netip.AddrPort) {
	d.mu.Lock()
	w := d.local[infoHash]
	d.mu.Unlock()
	if w != nil {
		w.Found([]netip.AddrPort{peer})
	}
}

// sources are the ways to find a torrent's peers.
func (d *discovery) sources(hash metainfo.InfoHash, port int) (all []swarm.PeerSource) {
	if d.dht != nil {
		all = append(all, &dhtSource{d: d.dht, hash: hash.Wire(), port: uint16(port), need: make(chan struct{}, 1)})
	}
	if d.lsd != nil {
		all = append(all, &lsdSource{d: d, hash: hash.Wire()})
	}
	return all
}

// dhtSource finds one torrent's peers in the DHT.
type dhtSource struct {
	d    *dht.DHT
	hash [20]byte
	port uint16
	need chan struct{} // holds one token
}

// Run implements [swarm.PeerSource].
func (s *dhtSource) Run(ctx context.Context, w swarm.Seeker) error {
	err := s.d.Announce(ctx, dht.Announcement{InfoHash: s.hash, Port: s.port, Found: w.Found, Need: s.need})
	if ctx.Err() != nil || errors.Is(err, dht.ErrClosed) {
		return nil
	}
	return err
}

// NeedPeers implements [swarm.PeerSource].
func (s *dhtSource) NeedPeers() {
	select {
	case s.need <- struct{}{}:
	default:
	}
}

// lsdSource finds one torrent's peers in the local network.
type lsdSource struct {
	d    *discovery
	hash [20]byte
}

// Run implements [swarm.PeerSource].
func (s *lsdSource) Run(ctx context.Context, w swarm.Seeker) error {
	s.d.mu.Lock()
	s.d.local[s.hash] = w
	s.d.mu.Unlock()
	s.d.lsd.Add(s.hash)
	<-ctx.Done()
	s.d.lsd.Remove(s.hash)
	s.d.mu.Lock()
	delete(s.d.local, s.hash)
	s.d.mu.Unlock()
	return nil
}

// NeedPeers implements [swarm.PeerSource]: the BEP allows no announce out of turn.
func (s *lsdSource) NeedPeers() {}
