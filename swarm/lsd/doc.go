// Package lsd is Local Service Discovery (BEP 14): peers on the same network
// find each other by multicast, without a tracker or a DHT.
//
// A [Service] announces the torrents that were added ([Service.Add]) and reports the peers that it
// hears of. It runs over [Group]s, each of which is one multicast group on some interfaces;
// [Groups] opens those of the BEP.
//
// What is received is believed as far as the BEP allows: the address of a peer
// is the datagram's source, only the port is taken from the text, and only
// torrents that we have are reported. Announces of our own, which multicast
// brings back, are known by their cookie.
//
// The rate is bounded in both directions. A torrent is announced every five minutes, one packet
// with several torrents goes out a minute at most to each group, and the rest wait for their turn,
// oldest first. Only a limited number of received packets a second is looked at.
//
// State: the set of torrents is guarded by a mutex; the schedule belongs to the
// goroutine of [Service.Run], which owns one receiving goroutine for each group
// and waits for them.
//
// What it never does: announce private torrents (BEP 27) — the caller must not
// add them —, connect to a peer, or answer one.
package lsd
