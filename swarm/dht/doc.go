// Package dht finds peers without a tracker: it is a node of the mainline DHT (BEP 5), for IPv4 and
// IPv6 (BEP 32), with an id that fits the own address (BEP 42), read-only if wanted (BEP 43), and
// answers sample_infohashes (BEP 51).
//
// # What is the library's, and what is ours
//
// Lookups, transactions and the routing table are those of github.com/anacrolix/dht. One packet
// from a stranger could end the process there, so nothing that a stranger sent reaches it. Each
// datagram is parsed here by rules that know every field (message.go), and a new one is written for
// the library from what passed: of a query only that a node with an id exists (a ping), of a reply
// only the lists and the token, each checked for length. A reply must carry the random transaction
// id that was sent to just that address. Queries are answered here as well (responder.go), with the
// peers (peers.go) and tokens (tokens.go) that are kept here, all bounded and with an end to their
// life.
//
// # Who owns what
//
// A [DHT] has one node for each address family, and a node's goroutine, within [DHT.Run], owns its
// server: it starts it, rescues it when it knows no nodes, and replaces it when the own address has
// become known. The guard around the socket has its own lock, which is never held while a packet is
// sent. The sockets come from the caller, which may share them with others behind its own
// net.PacketConn; [DHT.Close] closes them.
//
// # What it never does
//
// It never connects to a peer, never takes one node's word for the own address, never sends more
// than 8,000 bytes a second in answers, and never asks a node for a private torrent: that is up to
// the caller (BEP 27).
package dht
