package dht

import (
	"bytes"
	"log/slog"
	"sync"
	"testing"
)

// notes is a log that may be looked at while it is written.
type notes struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (n *notes) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.buf.Write(p)
}

func (n *notes) has(text string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return bytes.Contains(n.buf.Bytes(), []byte(text))
}

// The first node that replied may not be in the table yet: a lookup that finds no node to ask is
// repeated before long, not after as long as one that found no peers.
func TestLookupOfNobodyIsRepeatedSoon(t *testing.T) {
	var log notes
	a := startNode(t, "127.0.0.70", nil)
	b := startNode(t, "127.0.0.71", func(c *Config) {
		c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	for _, n := range b.nodes {
		n.host.readyOnce.Do(func() { close(n.host.ready) })
	}
	announce(t, b, Announcement{InfoHash: nodeID{1}, Port: 1})
	waitFor(t, "b looks for peers", func() bool { return log.has("peers in the DHT") })
	b.AddNode(a.addr)
	waitFor(t, "b announces to a", func() bool { return a.Stats().IPv4.Swarms > 0 })
}
