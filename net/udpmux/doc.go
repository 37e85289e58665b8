// Package udpmux lets uTP and the DHT share one UDP port, that of the number that peers reach by
// TCP: one line in a router's table, one port that peers are told.
//
// A [Port] gives the DHT a socket for each address family ([Port.IPv4],
// [Port.IPv6]) over a socket that another room reads. That is package utp if
// there is uTP, since what comes is nearly all its own and it takes many packets
// with one system call: it hands on what is no uTP packet ([Port.Deliver], as
// utp.Config.Other). Else it is [Port.Serve]. The first byte tells the two
// apart: a uTP packet has version 1 in its lower half, a message of the DHT is a
// bencoded dictionary.
//
// The answer to a datagram leaves from the address of ours that it came to: its sender is given as
// an [*Addr], and datagrams to that have this source.
//
// The mutex of each view guards its deadline; the queue of datagrams between
// reader and DHT is a bounded channel. A datagram that finds it full is dropped,
// so that a flood of queries never holds up a peer. The package never parses a
// message, never answers, and never opens a socket.
package udpmux
