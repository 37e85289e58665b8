// Package sim runs the real picker against simulated swarms in virtual time.
//
// A World holds remote peers, the wires to them and one client around a picker.Picker. Remote peers send blocks as fluids: a FIFO
// request queue, a window of data that a CANCEL no longer reaches (a send buffer of half a second as libtorrent keeps, or of 15
// seconds as Transmission does), TCP slow start after idling, in-order delivery, jitter, rate noise, stalls, chokes, and a
// downlink shared by all. Not modelled: the remote's disk, packet loss inside TCP, hashing and disk time of the client.
//
// Each read is compared with its bound: when a clairvoyant with empty pipes and exact rates would have ended it.
//
// A World is single-threaded; equal seeds give equal runs.
package sim
