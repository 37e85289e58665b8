// Package monitor notices that this computer is in another network: a cable
// that was plugged in, a laptop that woke elsewhere, a network that is gone.
//
// [Watch] compares the addresses of the interfaces every few seconds, which works everywhere and
// costs next to nothing, and reports each change. It owns no state beyond the last look, sends
// nothing, and does not judge whether the Internet can be reached: only whether there is an address
// to send from.
package monitor
