// Package webseed fetches blocks from a web server that has a torrent's files
// (BEP 19, "url-list"), or that serves its pieces (BEP 17, "httpseeds").
//
// A [Seed] is one server for one torrent, and behaves as a peer that has
// everything, so that the engine can give it to the picker as one: blocks are
// asked for by [Seed.Request] and taken back by [Seed.Cancel], each request
// gets exactly one answer through the [Handler], a server that wants to be left
// alone is one that chokes, a file that is not there is pieces that it has not.
// Whether the bytes are right is for the engine to find out; it ends
// [Seed.Run] of a seed that lies.
//
// Requests that lie beside each other become one range of a file, fetched over
// one of a few connections that are kept open; blocks are handed on while the
// rest of the range still comes. Bytes in pads are zeros and never fetched.
//
// # Who owns what
//
// The goroutine in Run owns the state of the server (choked or not) and waits
// for the workers, one for each connection. The queue is guarded by a mutex
// that is never held during a callback or while anything is sent. The buffer
// of a block belongs to the handler from the moment it gets it.
//
// # What it never does
//
// It never believes a length or an offset that differs from what was asked for, never takes a whole
// file for a range, never inflates, never reads an answer to its end after it is of no use, never
// follows more than five redirects, and never connects to an address inside the user's network
// unless the torrent spelled it out (package net/guard).
package webseed
