// Package mse is Message Stream Encryption, also called Protocol Encryption: the
// handshake with which two BitTorrent peers agree on a key before they speak
// the peer protocol, and the RC4 stream that may follow it. Its purpose is to
// get past boxes that throttle BitTorrent by its looks. It is no security: peers
// are not authenticated beyond knowing the info-hash, the prime is small, RC4
// is broken, and the "plaintext" method encrypts nothing after the handshake.
//
// [Initiate] is for outgoing connections and [Accept] for incoming ones; it also recognises peers
// that speak the plain protocol. Both leave a connection that is ready for the BitTorrent handshake
// in [Result.Conn].
//
// The source is the specification that Vuze published as "Message Stream
// Encryption"; it never became a BEP. With S the Diffie-Hellman secret and SKEY
// the info-hash, A the initiator and B the acceptor:
//
//	1 A→B  Ya, PadA
//	2 B→A  Yb, PadB
//	3 A→B  HASH("req1", S), HASH("req2", SKEY) xor HASH("req3", S),
//	       RC4(VC, crypto_provide, len(PadC), PadC, len(IA), IA)
//	4 B→A  RC4(VC, crypto_select, len(PadD), PadD)
//
// # Reading
//
// Nothing here reads a byte further than the handshake goes: the lengths of the pads are found by
// reads that are no longer than what must still come. So if plaintext was agreed on, the original
// connection is handed back as it was, with its readv and sendfile, and there is nothing to unwrap.
//
// # State
//
// The package keeps no state and starts no goroutine. A connection belongs to the function that it
// was passed to until that returns, and after an error to the caller again, which closes it:
// nothing is closed here. It must take what the other side has not read yet, 608 bytes at least, as
// every socket does and net.Pipe does not.
//
// What it never does: fall back to the plain protocol by itself (that takes a new connection and is
// the dialer's task), log, or pick torrents.
package mse
