// Package wire speaks the BitTorrent peer protocol: the handshake, the
// messages of BEP 3 (core), BEP 6 (fast extension), BEP 5 (port) and BEP 52
// (hash messages), and the bodies of the extension messages of BEP 9
// (ut_metadata), BEP 10 (extension handshake), BEP 11 (PEX) and BEP 54
// (lt_donthave).
//
// A [Reader] decodes a stream into a [Message] that its caller owns and reuses. Block payloads
// bypass it: after a [Piece] header the caller names the buffer for the payload
// ([Reader.ReadBlock]), and bytes that were not yet buffered are read from the connection straight
// into that place. Encoders append to a byte slice and never fail; the writer batches them.
//
// State: a Reader belongs to the goroutine that reads the connection. Nothing
// else here has state.
//
// The package never allocates by a number that the other side named (each
// message type has its own length limit, and long payloads take memory only as
// their bytes arrive), never panics on what it reads, starts no goroutine, sets
// no deadline, and knows nothing of the engine: which message is welcome when,
// and what was requested, is for the engine to judge.
package wire
