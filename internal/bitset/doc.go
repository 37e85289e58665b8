// Package bitset is the one set of small integers: pieces that a peer has, blocks of a piece, what
// is held.
//
// A Set belongs to its caller. It never grows, never locks and never checks an index beyond what
// the slice does.
package bitset
