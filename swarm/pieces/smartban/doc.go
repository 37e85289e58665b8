// Package smartban finds out who sent wrong data.
//
// A piece that fails its hash speaks against everyone who sent blocks of it. So the sender of each block of a piece
// under way is kept. When the piece is wrong, the digests of its blocks are taken; when it was fetched again and is
// right, those who sent blocks that differ lied, and they alone are banned. If one sender sent all of a wrong piece,
// that is the liar, at once.
//
// A web server is a sender, too, and banned last: a [Server] holds wrong data against the piece, then against its file,
// which may be another one there.
//
// It is pure policy: an [Evidence] and a [Server] belong to the goroutine that owns the torrent, which tells them what
// happened and bans whom they name (package peers remembers that). What is remembered is bounded, whatever strangers
// send.
//
// It starts no goroutine, takes no lock, reads no clock, and knows nothing of connections. It reads blocks only through
// the function that it is given.
package smartban
