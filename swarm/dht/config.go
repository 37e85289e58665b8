package dht

import (
	"context"
	"log/slog"
	"net"
	"net/netip"

	"torrentfs/net/egress"
)

// Config configures a DHT. Without a socket it cannot be made; zero values of
// all else stand for the defaults given here.
type Config struct {
	// IPv4 and IPv6 are the UDP sockets; nil leaves a family out. Each must
	// be of its family alone ("udp4", "udp6"), and SetReadDeadline must wake
	// ReadFrom. They may be views of a socket that uTP shares (package
	// net/udpmux). Close closes them.
	IPv4, IPv6 net.PacketConn

	// Bootstrap are nodes ("host:port") that are asked when no other answers.
	// nil means DefaultBootstrap, an empty list means none.
	Bootstrap []string
	// StateFile keeps ids and nodes from one run to the next; empty keeps
	// nothing. A file that cannot be used is reported and then replaced.
	StateFile string
	// ReadOnly answers no queries, and announces that (BEP 43): for metered networks.
	ReadOnly bool

	// Ignore reports addresses that are neither listened nor spoken to: a
	// blocklist. It must be cheap and safe for concurrent use.
	Ignore func(netip.Addr) bool
	// Lookup resolves the names of bootstrap nodes; nil means DNS.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	// ByName, if set, makes the address by which a socket sends to a host by its name, in place of
	// Lookup: behind a proxy that looks names up.
	ByName func(host string, port uint16) net.Addr
	Logger *slog.Logger // nil logs nothing

	queryRate int // for tests; 0 means 60
}

const (
	sendRate  = 8000 // bytes a second of our answers, for each family
	queryRate = 60   // packets of about 100 bytes a second of our own queries, for each family
)

// DefaultBootstrap returns the nodes that other clients begin with.
func DefaultBootstrap() []string {
	return []string{
		"dht.libtorrent.org:25401",
		"router.bittorrent.com:6881",
		"router.utorrent.com:6881",
		"dht.transmissionbt.com:6881",
		"dht.aelitis.com:6881",
		"router.silotis.us:6881", // has IPv6
	}
}

func (c Config) withDefaults() Config {
	if c.Bootstrap == nil {
		c.Bootstrap = DefaultBootstrap()
	}
	if c.queryRate <= 0 {
		c.queryRate = queryRate
	}
	if c.Ignore == nil {
		c.Ignore = func(netip.Addr) bool { return false }
	}
	if c.Lookup == nil {
		c.Lookup = (*egress.Network)(nil).LookupNetIP
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Stats is a snapshot of a DHT.
type Stats struct {
	IPv4, IPv6 FamilyStats
}

// FamilyStats is a snapshot of one address family; all zero if it is not served.
type FamilyStats struct {
	Good, Nodes int        // nodes in the routing table: that answered lately, and all
	External    netip.Addr // our address, if enough nodes agree; else invalid
	Swarms      int        // info-hashes that others announced to us
	Noisy       int        // sources ignored for sending too much

	Received, Malformed, Unasked, Ignored int64 // datagrams; those of the last three went nowhere
	Answered, Withheld                    int64 // queries of others; withheld for the sake of sendRate
	Sent                                  int64 // bytes of datagrams
}
