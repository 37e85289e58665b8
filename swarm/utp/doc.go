// Package utp is the Micro Transport Protocol (BEP 29): streams like TCP's over one UDP port, with
// a congestion control that gives way to other traffic (LEDBAT, RFC 6817).
//
// [New] makes a [Socket] over a datagram socket. It dials ([Socket.Dial],
// [Socket.DialContext]) and it is a [net.Listener]; [Conn] is a [net.Conn] that
// also reads and writes several buffers at once. A DHT may share the port by
// [Config.Other].
//
// # Layers and owners
//
// The protocol is in core: one end of a connection as a state machine without goroutines, locks and
// clock, over packets (packet), byte queues (ring) and the congestion window (ledbat). Tests run
// two of them over a simulated network in virtual time. Around it, a Socket has two goroutines for
// any number of connections. The receiver gives each packet to its core, under that connection's
// mutex. The sender is the only one that takes packets out of the cores, so that they leave in
// their order, and the only one that keeps time: what changes a core ([Conn.Read], [Conn.Write],
// the receiver) puts the connection on its list. No mutex is held during a system call, and none
// while another one is taken.
//
// A connection leaves from the address of ours that the peer's first packet came to, if the system
// tells (package pktinfo): a peer takes answers from no other one, and the route may have another.
//
// # What is ours to choose in BEP 29
//
//   - The answer to a SYN carries the number of the first data packet, which
//     does not use it up: as libutp and libtorrent do, against the BEP's picture.
//   - An incoming connection is handed out when the peer has confirmed our random sequence number,
//     so that none can be opened under a false address. Until then it counts against the half-open
//     ones.
//   - A packet counts as lost if later transmissions were acknowledged before it, and the last
//     packet of a flight is sent once more before the time-out.
//   - A round trip is measured by the timestamps of both ends, so that a lost ack
//     does not count as a long one, and one of a packet sent twice counts too.
//   - Above the target delay the window shrinks in proportion (see ledbat).
//   - Packets are of 1,232 bytes at first, which every IPv6 path takes; larger
//     ones are tried with padding that the peer skips, so that a lost one goes
//     out again in the old size. A path that gets narrower later breaks the
//     connection: a packet that was numbered cannot be cut in two.
//
// # What it never does
//
// It never allocates by a number that a packet names, never keeps more than two
// windows for a peer that ignores ours, never answers packets of no connection
// more than 20 times a second, and never looks up names.
package utp
