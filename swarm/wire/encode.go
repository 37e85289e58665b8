package wire

import "encoding/binary"

// The encoders append one message, length prefix included, and return the
// extended slice. They never fail and keep no reference to their arguments.

func appendPrefix(b []byte, id ID, n int) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(1+n))
	return append(b, byte(id))
}

func appendIndex(b []byte, id ID, piece uint32) []byte {
	return binary.BigEndian.AppendUint32(appendPrefix(b, id, 4), piece)
}

func appendBlockRef(b []byte, id ID, piece, begin, length uint32) []byte {
	b = appendPrefix(b, id, 12)
	b = binary.BigEndian.AppendUint32(b, piece)
	b = binary.BigEndian.AppendUint32(b, begin)
	return binary.BigEndian.AppendUint32(b, length)
}

// AppendKeepAlive appends the empty message that keeps an idle connection open.
func AppendKeepAlive(b []byte) []byte { return append(b, 0, 0, 0, 0) }

// AppendChoke appends a choke message.
func AppendChoke(b []byte) []byte { return appendPrefix(b, Choke, 0) }

// AppendUnchoke appends an unchoke message.
func AppendUnchoke(b []byte) []byte { return appendPrefix(b, Unchoke, 0) }

// AppendInterested appends an interested message.
func AppendInterested(b []byte) []byte { return appendPrefix(b, Interested, 0) }

// AppendNotInterested appends a not interested message.
func AppendNotInterested(b []byte) []byte { return appendPrefix(b, NotInterested, 0) }

// AppendHave appends a have message.
func AppendHave(b []byte, piece uint32) []byte { return appendIndex(b, Have, piece) }

// AppendBitfield appends the bitfield of a torrent of n pieces: piece i is held if bit i%64 of
// words[i/64] is set; words that are missing are zero.
func AppendBitfield(b []byte, words []uint64, n int) []byte {
	return appendBits(appendPrefix(b, Bitfield, (n+7)/8), words, n)
}

// AppendRequest appends a request for length bytes, at most [MaxBlock], at
// offset begin of a piece.
func AppendRequest(b []byte, piece, begin, length uint32) []byte {
	return appendBlockRef(b, Request, piece, begin, length)
}

// AppendCancel appends the withdrawal of a request.
func AppendCancel(b []byte, piece, begin, length uint32) []byte {
	return appendBlockRef(b, Cancel, piece, begin, length)
}

// AppendReject appends the refusal of a request (BEP 6).
func AppendReject(b []byte, piece, begin, length uint32) []byte {
	return appendBlockRef(b, Reject, piece, begin, length)
}

// PieceHeaderLen is the number of bytes that [AppendPieceHeader] appends.
const PieceHeaderLen = 4 + 1 + 8

// AppendPieceHeader appends all of a piece message but its payload, the n bytes
// of which must follow on the wire.
func AppendPieceHeader(b []byte, piece, begin, n uint32) []byte {
	b = appendPrefix(b, Piece, 8+int(n))
	b = binary.BigEndian.AppendUint32(b, piece)
	return binary.BigEndian.AppendUint32(b, begin)
}

// AppendPort appends the UDP port of our DHT node (BEP 5).
func AppendPort(b []byte, port uint16) []byte {
	return binary.BigEndian.AppendUint16(appendPrefix(b, Port, 2), port)
}

// AppendHaveAll appends a have all message (BEP 6).
func AppendHaveAll(b []byte) []byte { return appendPrefix(b, HaveAll, 0) }

// AppendHaveNone appends a have none message (BEP 6).
func AppendHaveNone(b []byte) []byte { return appendPrefix(b, HaveNone, 0) }

// AppendAllowedFast appends an allowed fast message (BEP 6).
func AppendAllowedFast(b []byte, piece uint32) []byte { return appendIndex(b, AllowedFast, piece) }

// AppendExtended appends an extension message (BEP 10). extID is the receiver's
// number for the extension, 0 for the extension handshake.
func AppendExtended(b []byte, extID uint8, body []byte) []byte {
	b = append(appendPrefix(b, Extended, 1+len(body)), extID)
	return append(b, body...)
}

// AppendHashRequest appends a request for hashes of a file's tree (BEP 52).
func AppendHashRequest(b []byte, h HashRange) []byte {
	return h.append(appendPrefix(b, HashRequest, hashHeaderLen))
}

// AppendHashReject appends the refusal of a hash request (BEP 52).
func AppendHashReject(b []byte, h HashRange) []byte {
	return h.append(appendPrefix(b, HashReject, hashHeaderLen))
}

// AppendHashes appends the answer to a hash request (BEP 52): the hashes of the
// base layer, then the uncles upwards.
func AppendHashes(b []byte, h HashRange, hashes [][32]byte) []byte {
	b = h.append(appendPrefix(b, Hashes, hashHeaderLen+32*len(hashes)))
	for i := range hashes {
		b = append(b, hashes[i][:]...)
	}
	return b
}

// Append appends the message as it stands on the wire. The payload of a [Piece]
// is not part of a Message: its m.Length bytes must follow. Types that this
// package does not know append nothing.
func (m *Message) Append(b []byte) []byte {
	switch m.ID {
	case KeepAlive:
		return AppendKeepAlive(b)
	case Choke, Unchoke, Interested, NotInterested, HaveAll, HaveNone:
		return appendPrefix(b, m.ID, 0)
	case Have, Suggest, AllowedFast:
		return appendIndex(b, m.ID, m.Piece)
	case Request, Cancel, Reject:
		return appendBlockRef(b, m.ID, m.Piece, m.Begin, m.Length)
	case Bitfield:
		return append(appendPrefix(b, Bitfield, len(m.Payload)), m.Payload...)
	case Piece:
		return AppendPieceHeader(b, m.Piece, m.Begin, m.Length)
	case Port:
		return AppendPort(b, m.Port)
	case Extended:
		return AppendExtended(b, m.ExtID, m.Payload)
	case HashRequest, HashReject:
		return m.Hash.append(appendPrefix(b, m.ID, hashHeaderLen))
	case Hashes:
		b = m.Hash.append(appendPrefix(b, Hashes, hashHeaderLen+len(m.Payload)))
		return append(b, m.Payload...)
	}
	return b
}
