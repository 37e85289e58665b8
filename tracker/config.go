package tracker

import (
	"log/slog"
	"time"
)

// Config configures a Server. Zero values stand for the defaults.
type Config struct {
	Interval    time.Duration // that peers are told to announce at; 0 means 30 min
	MinInterval time.Duration // that they are told to keep to; 0 means the lesser of 1 min and Interval
	Expiry      time.Duration // of a silent peer; 0 means twice Interval and a minute

	// Allow are the info-hashes that are served; nil serves all.
	Allow [][20]byte

	MaxTorrents int // 0 means 1,000,000; further ones are refused
	MaxPeers    int // of one torrent; 0 means 100,000; further ones get peers but are not listed

	Logger *slog.Logger // nil logs nothing

	// For tests.
	numWant    int              // peers of an answer if the client names no number; 0 means 50
	maxNumWant int              // peers of an answer at most; 0 means 200
	now        func() time.Time // nil means time.Now
}

func (c Config) withDefaults() Config {
	if c.Interval <= 0 {
		c.Interval = 30 * time.Minute
	}
	if c.MinInterval <= 0 {
		c.MinInterval = time.Minute
	}
	c.MinInterval = min(c.MinInterval, c.Interval)
	if c.Expiry <= 0 {
		c.Expiry = 2*c.Interval + time.Minute
	}
	orElse := func(n *int, def int) {
		if *n <= 0 {
			*n = def
		}
	}
	orElse(&c.MaxTorrents, 1_000_000)
	orElse(&c.MaxPeers, 100_000)
	orElse(&c.maxNumWant, 200)
	orElse(&c.numWant, 50)
	c.numWant = min(c.numWant, c.maxNumWant)
	if c.now == nil {
		c.now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}
