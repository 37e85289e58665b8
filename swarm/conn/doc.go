// Package conn is one connection to a peer: how it is made, read and written. It turns bytes into
// events, and knows no torrent, no picker and no address book.
//
// # How it is used
//
// An [Endpoint] makes connections: [Endpoint.Dial] goes by TCP or uTP, whichever answers first, in
// plain or encrypted (package mse), and shakes hands; [Endpoint.Accept] takes an incoming one as
// far as the peer's handshake, which [Conn.Answer] answers. Both return a [Conn] that nobody reads
// yet. [New] makes one of any [net.Conn], for tests.
//
//	c, err := endpoint.Dial(ctx, addr, conn.Offer{Hello: handshake})
//	…
//	c.Send(func(b []byte) []byte { return wire.AppendInterested(b) })
//	go c.Run(ctx, conn.Config{Peer: 7, Events: events, Geometry: &info.Geometry, Source: store})
//
// [Conn.Run] reads in its own goroutine and starts one that writes; both have ended when it
// returns. What the peer says comes as an [Event] of Config.Peer on Config.Events, which is one
// channel for all connections of an owner. The last event is [Gone], with the reason, or [Parked].
//
// The owner may call every other method at any time, before Run as well: Send and Request put
// messages into the outbox, Upload a block; [Conn.Flush] wakes the writer once for all of it; Close
// ends the connection. A connection that is not to be run is given up with [Conn.Discard].
//
// # Before the metadata is here
//
// Without Config.Geometry, which is the case of a magnet link, only extension messages become
// events: the handshake (BEP 10), ut_metadata (BEP 9), PEX and holepunching. What only a torrent
// understands (HAVE, bitfields, choking, interest) is kept, within a bound, as it came. [Conn.Park]
// then stops both goroutines between two bytes, and the next Run, with a geometry, takes up where
// the last one ended: it reads what was kept as if it came now, and sends what waits in the outbox.
//
// # Who owns what
//
// The reader owns what is decoded, and an event owns its data: nothing of it is used again. The
// outbox is a leaf with a mutex. Fields of a Conn with a capital letter do not change after it was
// made. The loop's own judgment of a peer is the owner's, but for the [Flood] score, which is kept
// here beside the reader's own limit.
//
// # Back pressure
//
// An event is sent on a channel that the owner bounds: as long as the owner takes none, the reader
// does not read, and the peer's window fills. A download limit holds the reader back in the same
// way. What we send is bounded as well: a peer for which too much waits ([ErrUnread]) is closed.
//
// # What it never does
//
// It decides nothing about the torrent, and never allocates by a number that the peer named. It
// reads the clock and starts no goroutine but the writer and the runners of a dial. Every wait for
// the peer ends with Close, and every wait for the owner or for a limit with the context.
package conn
