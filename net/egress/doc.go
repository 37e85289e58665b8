// Package egress is the network by which all traffic leaves and enters this
// machine: as the system routes it, by one interface alone, or through a proxy
// and not beside it. Nothing else in the program opens a socket or looks up a
// name (internal/layering tests that), so that a rule given here has no holes.
//
// A [Network] dials, listens and looks up names; nil is the system's own network.
//
// # One interface
//
// Every socket is bound to the interface before its first packet
// (SO_BINDTODEVICE on Linux, IP_BOUND_IF on macOS), also those that ask name
// servers. An interface that goes away takes its sockets with it: the system
// knows it by an index that does not come back. So the Network looks for it every
// second, ends what was bound to the old one, and opens what listened anew when
// it is there again; meanwhile nothing is sent.
//
// # A proxy
//
// TCP goes through it, by SOCKS5 (RFC 1928, 1929) or HTTP CONNECT, and names are resolved by it.
// Datagrams go through a SOCKS5 proxy that relays them (UDP ASSOCIATE): a [Relay] is such a port.
// All else is refused with [ErrProxied]: what cannot go through the proxy must not bypass it. The
// handshakes are ours, since golang.org/x/net/proxy neither tells a wrong password from a peer that
// is not there, nor knows of datagrams, nor can it ask a proxy whether it would take us before
// there is a peer to connect to.
//
// The Network owns its watcher, and knows the connections that it made over an
// interface by weak pointers; a Relay owns the connection that keeps its
// association. It never logs a password, never tries another way when its own is
// down, and never decides which addresses a stranger may send us to: that is
// package guard.
package egress
