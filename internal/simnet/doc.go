// Package simnet is a network in memory for tests of programs that talk TCP, and
// for datagrams that must find their way through routers ([Host.Shield]):
// hosts with addresses, listeners, a dialer, and connections with a rate, a
// delay, jitter, loss and a bounded window. It is made for testing/synctest: all
// waiting is on timers, channels and condition variables, so that in a bubble
// seconds of network time pass in no time, and nothing blocks in a system call.
// It works outside a bubble too, in real time.
//
// What it models. A host has one uplink and one downlink, each of which carries
// one segment at a time; connections take turns on the uplink, and queue on the
// downlink in the order of arrival. A segment takes the delays of both hosts,
// plus jitter; a lost one comes later by a retransmission delay, and those behind
// it wait, as in a TCP stream. A Write blocks while a window's worth of bytes is
// not yet read at the other end and acknowledged, so that a connection carries at
// most a window per round trip. Nothing is lost for good, nothing is reordered
// within a connection. Headers cost nothing, and there is no congestion control.
//
// State: everything belongs to the Network and is guarded by its one mutex, which
// is never held while waiting. There is no goroutine but the one that the event
// timer starts at each instant at which something happens. Jitter and loss come
// from generators seeded by the network's seed and the connection's addresses, so
// a connection's fate does not depend on how goroutines are scheduled.
//
// A Network must be created in the bubble that uses it, and its hosts must not
// be used from outside.
package simnet
