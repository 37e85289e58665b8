package tracker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"torrentfs/net/pktinfo"
)

// Serve answers HTTP on listeners and UDP on conns until ctx ends, and then
// returns nil with its goroutines gone; it returns early with the error of a
// socket that fails. It closes all of the sockets in any case.
func (s *Server) Serve(ctx context.Context, listeners []net.Listener, conns []net.PacketConn) error {
	g, ctx := errgroup.WithContext(ctx)
	web := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      20 * time.Second,
		IdleTimeout:       10 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.cfg.Logger.Handler(), slog.LevelDebug),
	}
	for _, l := range listeners {
		g.Go(func() error {
			defer l.Close() // Serve does not, when Shutdown came first
			if err := web.Serve(newLimitListener(l)); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serve HTTP on %s: %w", l.Addr(), err)
			}
			return nil
		})
	}
	for _, c := range conns {
		for range max(runtime.GOMAXPROCS(0), 1) {
			g.Go(func() error {
				if err := s.servePackets(c); ctx.Err() == nil {
					return fmt.Errorf("serve UDP on %s: %w", c.LocalAddr(), err)
				}
				return nil
			})
		}
	}
	g.Go(func() error { return s.sweepUntil(ctx) })
	g.Go(func() error {
		<-ctx.Done()
		for _, c := range conns {
			c.Close()
		}
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if web.Shutdown(grace) != nil {
			web.Close() // a client was slow
		}
		return nil
	})
	return g.Wait()
}

// sweepUntil sweeps until ctx ends.
func (s *Server) sweepUntil(ctx context.Context) error {
	tick := time.NewTicker(max(s.cfg.Expiry/4, time.Second))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			s.Sweep()
		}
	}
}

// servePackets answers packets until the socket fails. Several goroutines may
// do so on one socket.
func (s *Server) servePackets(c net.PacketConn) error {
	var (
		in  [2048]byte // no request is longer
		out = make([]byte, 0, 2048)
		r   reply
	)
	if u, ok := c.(*net.UDPConn); ok { // without an allocation per packet
		pktinfo.Note(u)
		oob, source := make([]byte, pktinfo.Size), make([]byte, 0, pktinfo.Size)
		for {
			n, oobn, _, from, err := u.ReadMsgUDPAddrPort(in[:], oob)
			if err != nil {
				return err
			}
			if out = s.handlePacket(out[:0], in[:n], from, &r); len(out) > 0 {
				source = pktinfo.AppendSource(source[:0], pktinfo.Arrival(oob[:oobn]))
				u.WriteMsgUDPAddrPort(out, source, from) // a lost answer is asked for again
			}
		}
	}
	for {
		n, from, err := c.ReadFrom(in[:])
		if err != nil {
			return err
		}
		if out = s.handlePacket(out[:0], in[:n], packetSource(from), &r); len(out) > 0 {
			c.WriteTo(out, from)
		}
	}
}

// packetSource is the address of a sender, invalid if it is no IP address.
func packetSource(a net.Addr) netip.AddrPort {
	if u, ok := a.(*net.UDPAddr); ok {
		return u.AddrPort()
	}
	return netip.AddrPort{}
}
