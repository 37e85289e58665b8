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

// portTries is how many free TCP ports are tried for one whose number is free
// for UDP as well.
const portTries = 8

// listeners are the ports that others come to: one number for TCP, and for the UDP
// of uTP and the DHT.
type listeners struct {
	tcp    net.Listener // the session closes it; nil: we do not listen
	utp    *utp.Socket  // likewise; nil: off
	shared *udpmux.Port // the DHT's part of the UDP port; nil if there is no such port

	relayed chan struct{} // holds a token when a proxy has begun to relay the UDP port; nil: it is ours
}

// openListeners opens what cfg asks for. Its error is a [*ListenError]: about TCP
// alone, since all else works without UDP.
func openListeners(cfg Config, log *slog.Logger) (*listeners, error) {
	ls := &listeners{}
	if cfg.ListenAddr == "-" {
		return ls, nil
	}
	wantUDP := !cfg.DisableUTP || cfg.Discovery.DHT
	if cfg.Network.out().Proxied() {
		return ls, ls.openRelay(cfg, wantUDP, log)
	}
	tcp, udp, err := listenBoth(cfg.Network.out(), cfg.ListenAddr, wantUDP, log)
	if err != nil {
		return nil, &ListenError{cfg.ListenAddr, err}
	}
	ls.tcp = tcp
	if udp == nil {
		return ls, nil
	}
	ls.share(udp, cfg, utp.Config{Logger: log.With("from", "utp")})
	return ls, nil
}

// share gives a UDP port to uTP and the DHT.
func (ls *listeners) share(udp net.PacketConn, cfg Config, c utp.Config) {
	ls.shared = udpmux.New(udp)
	if cfg.DisableUTP {
		ls.shared.Serve()
		return
	}
	c.Other = ls.shared.Deliver
	ls.utp = utp.New(udp, c)
}

// openRelay opens a UDP port at the proxy, if that has some. Peers and nodes
// are reached by it; where they would reach us nobody knows, so nothing tells them.
func (ls *listeners) openRelay(cfg Config, wantUDP bool, log *slog.Logger) error {
	if !wantUDP || cfg.Network.out().NoRelay() != nil {
		return nil
	}
	ls.relayed = make(chan struct{}, 1)
	udp, err := cfg.Network.out().OpenRelay(func() {
		select {
		case ls.relayed <- struct{}{}:
		default:
		}
	})
	if err != nil {
		return err
	}
	ls.share(udp, cfg, utp.Config{Logger: log.With("from", "utp"), Overhead: egress.RelayOverhead})
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
		if !named && try < portTries && errors.Is(err, syscall.EADDRINUSE) {
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

// port is the TCP port, 0 if there is none.
func (ls *listeners) port() int {
	if ls.tcp == nil {
		return 0
	}
	return ls.tcp.Addr().(*net.TCPAddr).Port
}

// udpPort is that for UDP; mostly the same.
func (ls *listeners) udpPort() uint16 {
	if ls.shared == nil {
		return 0
	}
	return ls.shared.Number()
}

// close ends what is open, also after the session has closed its part.
func (ls *listeners) close() error {
	if ls.tcp != nil {
		_ = ls.tcp.Close()
	}
	if ls.utp != nil {
		_ = ls.utp.Close()
	}
	if ls.shared != nil {
		return ls.shared.Close()
	}
	return nil
}
