// Package swarm is the peer engine: it downloads and seeds torrents over TCP.
//
// # Who owns what
//
// A [Session] owns the listener, the limits shared by all torrents (bandwidth,
// connections, half-open dials) and the hash workers. A [Torrent] is owned by
// one goroutine, its loop (torrent_loop.go): the picker, the choker, the pool of
// peers, every peer's protocol state and the waiting reads are touched by nobody
// else. Around the loop work goroutines that hold none of
// its state and only send it events: per peer connection one that reads and one
// that writes (package conn), the hash workers and the checkers of data found
// on disk (package pieces/hashing).
//
// A web seed is a peer of the picker that has no connection: its requests and
// answers take the same way, and smart ban knows it by its number (web_seeds.go).
//
// A file of another torrent that has what one of ours has is data found on
// disk, too: a checker copies a piece before it hashes it (package pieces).
//
// # The way of a block
//
// The picker says Request; the loop encodes it into the peer's outbox; the
// writer sends it. The peer's reader takes the payload from the socket
// straight into the block's own buffer and hands it to the loop, which gives
// it to the [Store] and to a hash worker. When the piece's last block has been
// hashed and the hash is right, the worker commits it to the store, and the
// loop wakes whoever waits for it and tells the peers.
//
// A block of a v2 or hybrid torrent is also verified by itself (BEP 52): with
// the request for it the loop sends one for its leaf, and the worker that has both
// commits the block at once. Package hashes decides who is asked, keeps what is
// known of the files' trees, and answers others; torrent_hashes.go joins the two.
//
// # Peers
//
// There is one pool of peers for each info-hash (package peers): the addresses, who is
// dialled, who is let in, what peers tell each other of others, and holepunching. Its
// tenant tells it what happens and does what it wants done: first, for a magnet link,
// the search for metadata (metadata_search.go), then the torrent (pool_work.go).
// What both have in common is in pool.go. [Session.NetworkChanged] is for a computer
// that moves (network_change.go).
//
// Strangers name the addresses that are dialled. What all pools of a session share
// bounds how many dials may fail for each host, each network and each introducer.
//
// # From a link to a torrent
//
// [Session.FetchMetadata] is a search; its goroutine owns the pool, and the drafts of the
// info dictionary (package metadata). When the metadata is here its connections are
// parked, and have no owner but the [Metadata] that holds them and the pool, until a
// torrent takes over both. What a peer said meanwhile is handed on as it came, and read
// as if it came now (metadata_handover.go).
//
// # What it never does
//
// It never shows an unverified byte to a [Reader] or to a peer, never imports
// the cache or the file system, never sleeps, and never lets a peer's word
// decide how much it allocates.
package swarm
