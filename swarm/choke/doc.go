// Package choke decides who may download from us (BEP 3, "choking").
//
// While pieces are missing it is tit-for-tat: the slots go to those who send us most, and one in
// four goes to a peer by chance, the optimistic unchoke. Once everything is here it serves in
// turns, so that all get the same.
//
// It is pure policy, as the picker is: a [Choker] gets events and the time, and returns which peers
// to choke and unchoke. The torrent's loop owns it and applies its actions. [Choker.NextRound] is
// its only deadline.
//
// A Choker owns the fact of who is unchoked. It starts no goroutine, takes no lock, reads no clock,
// does no I/O, and knows nothing of connections, messages or pieces.
package choke
