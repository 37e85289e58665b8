package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"torrentfs/tracker"
)

type trackerCmd struct {
	Listen      []string      `default:":6969" sep:"," placeholder:"ADDR" help:"Addresses for HTTP announces, such as :6969 or 10.0.0.1:80; none switches HTTP off. May be repeated."`
	UDP         []string      `name:"udp" default:":6969" sep:"," placeholder:"ADDR" help:"Addresses for UDP announces (BEP 15); none switches UDP off. May be repeated."`
	Interval    time.Duration `default:"30m" placeholder:"TIME" help:"How often peers are told to announce."`
	MinInterval time.Duration `default:"1m" placeholder:"TIME" help:"How often they may at most."`
	Expiry      time.Duration `default:"0" placeholder:"TIME" help:"When a silent peer is forgotten; 0 is twice the interval and a minute."`
	Allow       string        `placeholder:"FILE" complete:"file" help:"Serve only the info-hashes in FILE: hex, one per line, # begins a comment."`
	MaxTorrents int           `default:"1000000" placeholder:"N" help:"Most torrents."`
	MaxPeers    int           `default:"100000" placeholder:"N" help:"Most peers of one torrent."`
	Status      statusFlags   `embed:""`
}

// Help is the text below the summary.
func (trackerCmd) Help() string {
	return `Peers announce at http://HOST:6969/announce or udp://HOST:6969/announce; http://HOST:6969/ shows how it is doing.
Everything is in memory: after a restart peers are found again as they announce. The tracker tells peers where the
others are and never connects to them.`
}

// maxTrackerTime is the longest time that --interval and its like take: 32 bits
// of seconds is what an answer by UDP has, and no peer waits for a month.
const maxTrackerTime = 30 * 24 * time.Hour

// Validate checks what the types of the flags do not.
func (o *trackerCmd) Validate() error {
	switch {
	case o.Interval < time.Second || o.Interval > maxTrackerTime:
		return fmt.Errorf("--interval: want a time from 1s to 30d, got %s", o.Interval)
	case o.MinInterval < time.Second || o.MinInterval > maxTrackerTime:
		return fmt.Errorf("--min-interval: want a time from 1s to 30d, got %s", o.MinInterval)
	case o.Expiry != 0 && (o.Expiry < time.Second || o.Expiry > 2*maxTrackerTime):
		return fmt.Errorf("--expiry: want a time from 1s to 60d, or 0, got %s", o.Expiry)
	case o.MaxTorrents < 1:
		return fmt.Errorf("--max-torrents: want at least 1, got %d", o.MaxTorrents)
	case o.MaxPeers < 1:
		return fmt.Errorf("--max-peers: want at least 1, got %d", o.MaxPeers)
	}
	return nil
}

// Run serves until a signal.
func (o *trackerCmd) Run(ctx context.Context, a *app) error {
	outliveReaders()
	allow, err := readAllowList(o.Allow)
	if err != nil {
		return err
	}
	listeners, conns, err := o.listen(ctx)
	if err != nil {
		return err
	}
	s := tracker.New(tracker.Config{
		Interval: o.Interval, MinInterval: o.MinInterval, Expiry: o.Expiry,
		Allow: allow, MaxTorrents: o.MaxTorrents, MaxPeers: o.MaxPeers, Logger: a.log,
	})
	for _, l := range listeners {
		a.log.Info("listening", "network", "http", "addr", l.Addr().String())
	}
	for _, c := range conns {
		a.log.Info("listening", "network", "udp", "addr", c.LocalAddr().String())
	}
	status, stop := context.WithCancel(ctx)
	reported := make(chan struct{})
	go func() { defer close(reported); o.report(status, a, s) }()
	err = s.Serve(ctx, listeners, conns)
	stop()
	<-reported
	if err != nil {
		return fail(exitNetwork, "", "serve tracker: %w", err)
	}
	return nil
}

// report logs the figures now and then, if there is anything to tell.
func (o *trackerCmd) report(ctx context.Context, a *app, s *tracker.Server) {
	if o.Status.StatusInterval <= 0 {
		return
	}
	ticker := time.NewTicker(o.Status.StatusInterval)
	defer ticker.Stop()
	var last tracker.Stats
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		st := s.Stats()
		quiet := st
		quiet.Uptime = last.Uptime
		if quiet == last {
			continue
		}
		last = st
		a.log.Info("status", "torrents", st.Torrents, "seeders", st.Seeders, "leechers", st.Leechers,
			"announces_http", st.AnnouncesHTTP, "announces_udp", st.AnnouncesUDP, "scrapes", st.Scrapes,
			"completed", st.Completed, "refused", st.Refused, "ignored", st.Ignored)
	}
}

// listen opens all sockets, or none.
func (o *trackerCmd) listen(ctx context.Context) (listeners []net.Listener, conns []net.PacketConn, err error) {
	defer func() {
		if err == nil {
			return
		}
		for _, l := range listeners {
			_ = l.Close()
		}
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	var config net.ListenConfig
	for _, addr := range addresses(o.Listen) {
		l, err := config.Listen(ctx, "tcp", addr)
		if err != nil {
			return listeners, conns, listenFailure("--listen", err)
		}
		listeners = append(listeners, l)
	}
	for _, addr := range addresses(o.UDP) {
		c, err := config.ListenPacket(ctx, "udp", addr)
		if err != nil {
			return listeners, conns, listenFailure("--udp", err)
		}
		conns = append(conns, c)
	}
	if len(listeners)+len(conns) == 0 {
		return nil, nil, fail(exitUsage, "leave one of --listen and --udp on", "serve tracker: neither HTTP nor UDP is left")
	}
	return listeners, conns, nil
}

// addresses drops the word none.
func addresses(flag []string) []string {
	if len(flag) == 1 && flag[0] == "none" {
		return nil
	}
	return flag
}

func listenFailure(flag string, err error) error {
	hint := "choose another address with " + flag
	var bad *net.AddrError
	switch {
	case errors.As(err, &bad):
		hint = "write HOST:PORT or :PORT, such as " + flag + " :6969"
	case errors.Is(err, syscall.EACCES):
		hint = "ports below 1024 need privileges; " + hint
	case errors.Is(err, syscall.EADDRINUSE):
		hint += ", as another program has this one (maybe a tracker that runs already)"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		hint += ", as this machine does not have that one"
	}
	return fail(exitNetwork, hint, "serve tracker: %w", err)
}

// readAllowList reads info-hashes in hex; of a v2 hash the first 20 bytes
// count, as in an announce. An empty name allows everything.
func readAllowList(name string) (hashes [][20]byte, err error) {
	if name == "" {
		return nil, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fail(exitUsage, fileHint(err, "a file with --allow"), "read list of info-hashes: %w", err)
	}
	defer f.Close() //nolint:errcheck // nothing was written
	hashes = [][20]byte{}
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		hash, err := parseInfoHash(text)
		if err != nil {
			return nil, fail(exitUsage, "correct that line", "read list of info-hashes: %s, line %d: %w", name, n, err)
		}
		hashes = append(hashes, hash)
	}
	if err := lines.Err(); err != nil {
		return nil, fail(exitUsage, fileHint(err, "a file with --allow"), "read list of info-hashes: %w", err)
	}
	return hashes, nil
}

func parseInfoHash(text string) (h [20]byte, err error) {
	raw, err := hex.DecodeString(text)
	if err != nil || (len(raw) != 20 && len(raw) != 32) {
		return h, fmt.Errorf("%.70q is no info-hash: want 40 or 64 hex digits", text)
	}
	copy(h[:], raw)
	return h, nil
}
