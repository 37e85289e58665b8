// Package announce announces one torrent to trackers and gets its peers from them: HTTP, HTTPS and
// UDP trackers, in tiers, with scrape.
//
// It has two layers. A [Client] speaks the protocols: one announce or scrape
// of one tracker URL, with all that a hostile tracker, or a hostile .torrent
// that names one, may try (addresses are checked after every name lookup,
// bodies are capped after inflation, redirects are counted). It keeps only
// sockets and UDP connection ids, and one Client serves any number of
// torrents. An [Announcer] is the policy for one torrent: which tracker when.
// Its state belongs to the goroutine of [Announcer.Run]; what others may see
// of it they get as copies, from [Announcer.Status].
//
// # Which trackers are announced to
//
// The order is that of BEP 12: tiers from the first to the last, shuffled
// within themselves, the next tracker when one fails, and what worked moves to
// the front of its tier. Three things are ours:
//
//   - A tracker that has not answered within three seconds no longer keeps the others waiting: the
//     next one in order is asked beside it. A dead UDP tracker is only recognised after minutes,
//     and a read may be waiting for its first byte. The order of the attempts stays that of BEP 12,
//     and the slow tracker counts as soon as it does answer.
//   - Once one tracker of a tier has answered, the rest of that tier is announced to as well: tiers
//     in the wild hold trackers that know nothing of each other. Private torrents follow BEP 12
//     exactly.
//   - Private torrents (BEP 27) have one tracker at a time, never two.
//
// # What it never does
//
// It never connects to a peer, never resolves a host name that a tracker gives
// as a peer, never asks DNS for .i2p or .onion names, never reaches a loopback
// or private address for a torrent whose tracker was not written as one, nor says
// more to it than an announce unless the user named it, and never takes a tracker's word
// for the own address as more than a vote.
package announce
