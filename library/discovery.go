package library

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"

	"torrentfs/metainfo"
	"torrentfs/net/egress"
	"torrentfs/net/portmap"
	"torrentfs/net/udpmux"
	"torrentfs/swarm"
	"torrentfs/swarm/dht"
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

// proxiedSuffix keeps the DHT's state behind a proxy apart: an id is made from our
// address (BEP 42), and would tell of the one that the proxy hides.
const proxiedSuffix = ".proxied"

// discovery runs what [Discovery] asks for, for all torrents of a library. It
// works in the background; nothing waits for it.
type discovery struct {
	dht   *dht.DHT        // nil: off
	ports *portmap.Mapper // nil: off
	local localPeers

	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup
}

func newDiscovery() *discovery {
	d := &discovery{}
	d.ctx, d.stop = context.WithCancel(context.Background())
	d.local.sinks = map[[20]byte]swarm.PeerSink{}
	return d
}

// openDHT makes the node, which does nothing before run. Where the port has no
// address of a family, that one is left out.
func (d *discovery) openDHT(cfg Discovery, network *egress.Network, port *udpmux.Port, blocked func(netip.Addr) bool, log *slog.Logger) {
	if cfg.DHTState != "" {
		_ = os.MkdirAll(filepath.Dir(cfg.DHTState), 0o755) // saving says so if it fails
	}
	c := dht.Config{
		IPv4: port.IPv4(), IPv6: port.IPv6(), Bootstrap: cfg.DHTBootstrap, StateFile: cfg.DHTState,
		Ignore: blocked, Lookup: network.LookupNetIP, Logger: log.With("from", "dht"),
	}
	if network.Proxied() {
		c.ReadOnly = true // who does not know us cannot reach us
		if c.StateFile != "" {
			c.StateFile += proxiedSuffix
		}
		c.ByName = func(host string, port uint16) net.Addr { return egress.NameAddr{Host: host, Port: port} }
	}
	var err error
	d.dht, err = dht.New(c)
	if err != nil {
		d.dht = nil
		log.Warn("there is no DHT", "err", err)
	}
}

// openPorts makes the mapper of the ports that peers and nodes come to: one
// number, unless others have that for UDP. udp is 0 if there is none.
func (d *discovery) openPorts(network *egress.Network, tcp, udp uint16, log *slog.Logger) {
	c := portmap.Config{
		Mappings: []portmap.Mapping{{Protocol: portmap.TCP, Port: tcp}},
		Mapped: func(m portmap.Mapping, external netip.AddrPort) {
			log.Info("the router lets peers in", "protocol", m.Protocol.String(), "port", m.Port, "external", external.String())
		},
		Network: network,
		Logger:  log.With("from", "portmap"),
	}
	if udp != 0 {
		c.Mappings = append(c.Mappings, portmap.Mapping{Protocol: portmap.UDP, Port: udp})
	}
	d.ports = portmap.New(c)
}

// run starts what was opened.
func (d *discovery) run(log *slog.Logger) {
	ctx := d.ctx
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
	d.local.begin(ctx, &d.wg, log)
}

// followRelay lets the DHT begin anew when the proxy has begun to relay for it.
func (d *discovery) followRelay(relayed <-chan struct{}) {
	if d.dht == nil || relayed == nil {
		return
	}
	d.wg.Go(func() {
		for {
			select {
			case <-relayed:
				d.dht.NetworkChanged()
			case <-d.ctx.Done():
				return
			}
		}
	})
}

// networkChanged makes each way begin anew.
func (d *discovery) networkChanged(log *slog.Logger) {
	if d.dht != nil {
		d.dht.NetworkChanged()
	}
	if d.ports != nil {
		d.ports.NetworkChanged()
	}
	d.local.begin(d.ctx, &d.wg, log)
}

func (d *discovery) close() error {
	d.stop()
	d.wg.Wait()
	if d.dht != nil {
		return d.dht.Close()
	}
	return nil
}

// sources are the ways to find a torrent's peers.
func (d *discovery) sources(hash metainfo.InfoHash, port int) (all []swarm.PeerSource) {
	if d.dht != nil {
		all = append(all, &dhtSource{d: d.dht, hash: hash.Wire(), port: uint16(port), need: make(chan struct{}, 1)})
	}
	if d.local.port != 0 {
		all = append(all, &lsdSource{l: &d.local, hash: hash.Wire()})
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
func (s *dhtSource) Run(ctx context.Context, w swarm.PeerSink) error {
	found := func(peers []netip.AddrPort) { w.Found(swarm.Introducer{Kind: swarm.ByDHT}, peers) }
	err := s.d.Announce(ctx, dht.Announcement{InfoHash: s.hash, Port: s.port, Found: found, Need: s.need})
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
