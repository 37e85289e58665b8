// Package tracker is a BitTorrent tracker: a server that introduces the peers of a torrent to each
// other, over HTTP (BEP 3, 7, 23, 24, 48) and UDP (BEP 15).
//
// A [Server] keeps in memory who has announced to it and forgets peers that
// stay silent. Its torrents are spread over shards, each with its own lock,
// which is held for one announce and never across I/O. Everything is bounded:
// torrents, peers of a torrent, peers of an address and of the network around it,
// peers in all, connections, peers of an answer, the length of a query.
//
// What an announce costs does not depend on the size of the swarm: peers are
// found by address in a map, expire from the front of a list that is ordered by
// age, and are drawn at random by stepping through an array.
//
// # What it never does
//
// It never takes a peer's address from what the peer says, only from where its packets come from
// (an address in the query would let anyone aim a swarm at a victim). Over UDP it never answers
// more than a connect request to a client that has not proven that it receives at its address, and
// it keeps no state for such a client. It never connects to a peer. It imports nothing of the
// client.
package tracker
