// Package library is the set of torrents of one process.
//
// It ties the rooms of the house together for whoever wants torrents and not
// their parts: one memory cache, one listening port and one peer engine shared
// by all torrents; per torrent a store on disk, the announces to its trackers,
// and a file tree that package fs can mount.
//
// Peers are found by trackers, and where [Config] says so by the DHT and in the
// local network; the router is asked to let them in. [Library.Resolve] makes a
// torrent of a magnet link. Private torrents (BEP 27) have trackers alone.
//
// State: [Library] owns the session, the cache and the list of torrents, and
// [Library.Close] ends them in the order that loses nothing: announces, peers,
// stores, cache. A [Torrent] belongs to its library.
//
// It never parses a peer message, never touches FUSE, and never prints.
package library
