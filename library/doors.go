package library

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"syscall"

	"torrentfs/net/egress"
	"torrentfs/net/udpmux"
	"torrentfs/swarm/utp"
)

// doorTries is how many free TCP ports are tried for one whose number is free
// for UDP as well.
const doorTries = 8

// doors are the ports that others come to: one number for TCP, and for the UDP
// of uTP and the DHT.
type doors struct {
	tcp    net.Listener // the session closes it; nil: we do not listen
	utp    *utp.Socket  // likewise; nil: off
	shared *udpmux.Port // the DHT's part of the UDP port; nil where there is no such port

	relayed chan struct{} // holds a token when a proxy has begun to relay the UDP port; nil: it is ours
}

// openDoors opens what cfg asks for. Its error is a [*ListenError]: about TCP
// alone, since all else works without UDP.
func openDoors(cfg Config, log *slog.Logger) (*doors, error) {
	d := &doors{}
	if cfg.ListenAddr == "-" {
		return d, nil
	}
	wantUDP := !cfg.DisableUTP || cfg.Discovery.DHT
	if cfg.Network.Proxied() {
		return d, d.openRelay(cfg, wantUDP, log)
	}
	tcp, udp, err := listenBoth(cfg.Network, cfg.ListenAddr, wantUDP, log)
	if err != nil {
		return nil, &ListenError{cfg.ListenAddr, err}
	}
	d.tcp = tcp
	if udp == nil {
		return d, nil
	}
	d.share(udp, cfg, utp.Config{Logger: log.With("from", "utp")})
	return d, nil
}

// share gives a UDP port to uTP and the DHT.
func (d *doors) share(udp net.PacketConn, cfg Config, c utp.Config) {
	d.shared = udpmux.New(udp)
	if cfg.DisableUTP {
		d.shared.Serve()
		return
	}
	c.Other = d.shared.Deliver
	d.utp = utp.New(udp, c)
}

// openRelay opens a UDP port at the proxy, where that has some. Peers and nodes
// are reached by it; where they would reach us nobody knows, so nothing tells them.
func (d *doors) openRelay(cfg Config, wantUDP bool, log *slog.Logger) error {
	if !wantUDP || cfg.Network.NoRelay() != nil {
		return nil
	}
	d.relayed = make(chan struct{}, 1)
	udp, err := cfg.Network.OpenRelay(func() {
		select {
		case d.relayed <- struct{}{}:
		default:
		}
	})
	if err != nil {
		return err
	}
	d.share(udp, cfg, utp.Config{Logger: log.With("from", "utp"), Overhead: egress.RelayOverhead})
	return nil
}

// listenBoth opens a TCP and a UDP port of one number. Where the user named it
// and another program has it for UDP, that one is another: what we begin
// ourselves works by it.
func listenBoth(network *egress.Network, addr string, wantUDP bool, log *slog.Logger) (net.Listener, net.PacketConn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, nil, err
	}
	ctx := context.Background() // nothing here waits
	named := port != "0"
	for try := 1; ; try++ {
		tcp, err := network.Listen(ctx, "tcp", addr)
		if err != nil || !wantUDP {
			return tcp, nil, err
		}
		number := tcp.Addr().(*net.TCPAddr).Port
		udp, err := network.ListenPacket(ctx, "udp", net.JoinHostPort(host, strconv.Itoa(number)))
		if err == nil {
			return tcp, udp, nil
		}
		if !named && try < doorTries && errors.Is(err, syscall.EADDRINUSE) {
			defer tcp.Close() // not yet: the system would offer it again
			continue
		}
		udp, second := network.ListenPacket(ctx, "udp", net.JoinHostPort(host, "0"))
		if second != nil {
			log.Warn("there is no uTP and no DHT: no UDP port can be opened", "err", second)
			return tcp, nil, nil
		}
		log.Warn("the UDP port is taken: uTP and the DHT use another, and peers come by TCP alone; --listen-port names another one",
			"port", number, "instead", udp.LocalAddr().(*net.UDPAddr).Port, "err", err)
		return tcp, udp, nil
	}
}

// port is the TCP port, 0 where there is none.
func (d *doors) port() int {
	if d.tcp == nil {
		return 0
	}
	return d.tcp.Addr().(*net.TCPAddr).Port
}

// udpPort is that for UDP; mostly the same.
func (d *doors) udpPort() uint16 {
	if d.shared == nil {
		return 0
	}
	return d.shared.Number()
}

// close ends what is open, also after the session has closed its part.
func (d *doors) close() error {
	if d.tcp != nil {
		_ = d.tcp.Close()
	}
	if d.utp != nil {
		_ = d.utp.Close()
	}
	if d.shared != nil {
		return d.shared.Close()
	}
	return nil
}
