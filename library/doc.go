// Package library is the torrents of one process, as a Go API: open torrents by what users call
// them, read their files while they download, seed them, follow how they do.
//
//	l, err := library.Open(library.Config{DataDir: "/srv/torrents"})
//	…
//	defer l.Close(ctx)
//	ref, err := library.ParseRef("film.torrent")
//	…
//	t, err := l.Add(ctx, ref.Meta, library.AddOptions{})
//
// The examples run: whole programs that download, read a range, add a magnet link, follow progress
// and choose a [Strategy].
//
// # Opening
//
// [Open] makes a [Library]: one memory cache, one listening port and one peer engine for all its
// torrents. The zero [Config] works. [Library.Close] ends everything in the order that loses
// nothing: announces, peers, stores, cache.
//
// Peers are found by trackers and, if [Config.Discovery] says so, by the DHT and in the local
// network; the router is asked to let them in. Private torrents (BEP 27) have trackers alone.
//
// A [Network] is by what all this goes: one interface, a proxy, or without one as the system routes
// it. It also gets what users name before there is a library ([Network.Fetch],
// [Network.ReadBlocklists]). What users name may be anywhere; what torrents and redirects name must
// be public, unless the user trusts it.
//
// # Torrents
//
// A user's word for a torrent is a [Ref]. It has the metadata of a .torrent, or a magnet link, or a
// URL:
//
//	ref, err := library.ParseRef(name)
//	if ref.URL != "" {
//		ref, err = network.Fetch(ctx, ref.URL)
//	}
//	if ref.Magnet != nil {
//		t, err = l.AddMagnet(ctx, ref.Magnet, o)
//	} else {
//		t, err = l.Add(ctx, ref.Meta, o)
//	}
//
// [Library.Resolve] is the first half of AddMagnet, for callers that show how a search gets on. Its
// sources and connections go on for the torrent, which is to be added next.
//
// [Library.Add] opens the torrent's store and returns a [Torrent] at once. What lies in the data
// folder and is not known to be right is hashed behind it ([Torrent.Checked]); files that are not
// the torrent's are left as they are. One process at a time has a folder: the error of a second one
// wraps [ErrLocked]. [Library.Remove] stops a torrent and leaves its data.
//
// # Reading
//
// [Torrent.Open] opens a file. Its ReadAt returns verified bytes alone. It waits for those that are
// not here, until its context ends; they are fetched before all else, and who reads on in order
// gets read-ahead. Each open file has a history of its own, so open one for each reader.
// [Torrent.Source] is all files as a tree, for package fs to mount.
//
// What becomes of a read whose bytes nobody has is [AddOptions.OnUnavailable]: it waits, or fails
// with an [*UnavailableError].
//
// # Following
//
// [Torrent.Stats] is a snapshot, cheap enough for every second: bytes, rates, peers, trackers,
// reads that wait and what for. [Torrent.Complete] and [Torrent.Selected] are closed when all of
// it, or what was selected, is verified and outlives a crash.
//
// # Errors
//
// Those that callers branch on are types, such as [*ListenError], [*DataError], [*FetchError] and
// [*RefError], or sentinels. A function that waits returns the cause of its context if that ends.
//
// # Who owns what
//
// [Library] owns the session, the cache and the list of torrents; a [Torrent] belongs to its
// library and is of no use after it. All methods may be called from any goroutine. The package
// never parses a peer message, never touches FUSE, and never prints: it logs to [Config.Logger].
package library
