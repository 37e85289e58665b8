package utp

import (
	"encoding/binary"
	"errors"
)

// packetType is the upper half of a packet's first byte (BEP 29, "type").
type packetType uint8

const (
	typeData packetType = iota
	typeFin
	typeState
	typeReset
	typeSyn
)

const (
	version   = 1
	headerLen = 20

	extSACK = 1
	// extPadding is an extension that no client knows, and so skips: it fills a packet up to the
	// size that is to be tried.
	extPadding = 0x70
)

// errMalformed means that a datagram is not a uTP packet.
var errMalformed = errors.New("malformed uTP packet")

// packet is a decoded packet. Its slices lie within the datagram.
type packet struct {
	kind      packetType
	id        uint16 // the receiver's connection id, except in a SYN
	timestamp uint32 // µs, by the sender's clock
	delay     uint32 // µs between the two clocks, as the sender saw it last; 0: not known
	window    uint32 // bytes that the sender can receive
	seq       uint16
	ack       uint16
	sack      []byte // selective ack: bit i, from the lowest of the first byte, is packet ack + 2 + i
	payload   []byte
}

// parsePacket decodes a datagram strictly: BEP 29, "header format". Unknown
// extensions are skipped, as is the rest of a packet that carries no data.
func parsePacket(b []byte) (p packet, err error) {
	if len(b) < headerLen || b[0]&0xf != version || b[0]>>4 > uint8(typeSyn) {
		return p, errMalformed
	}
	p = packet{
		kind:      packetType(b[0] >> 4),
		id:        binary.BigEndian.Uint16(b[2:]),
		timestamp: binary.BigEndian.Uint32(b[4:]),
		delay:     binary.BigEndian.Uint32(b[8:]),
		window:    binary.BigEndian.Uint32(b[12:]),
		seq:       binary.BigEndian.Uint16(b[16:]),
		ack:       binary.BigEndian.Uint16(b[18:]),
	}
	ext, rest := b[1], b[headerLen:]
	for ext != 0 {
		if len(rest) < 2 || len(rest) < 2+int(rest[1]) {
			return p, errMalformed
		}
		body := rest[2 : 2+int(rest[1])]
		if ext == extSACK {
			// A multiple of four bytes, says the BEP. libtorrent sends masks of any
			// length, and losing its acks would end the connection.
			if p.sack != nil {
				return p, errMalformed
			}
			p.sack = body
		}
		ext, rest = rest[0], rest[2+len(body):]
	}
	p.payload = rest
	if p.kind != typeData {
		p.payload = nil // others have none; what follows the header is ignored
	}
	return p, nil
}

// appendHeader appends a header without extensions.
func appendHeader(b []byte, p *packet) []byte {
	b = append(b, byte(p.kind)<<4|version, 0)
	b = binary.BigEndian.AppendUint16(b, p.id)
	b = binary.BigEndian.AppendUint32(b, p.timestamp)
	b = binary.BigEndian.AppendUint32(b, p.delay)
	b = binary.BigEndian.AppendUint32(b, p.window)
	b = binary.BigEndian.AppendUint16(b, p.seq)
	return binary.BigEndian.AppendUint16(b, p.ack)
}

// appendPacket appends a whole packet.
func appendPacket(b []byte, p *packet) []byte {
	at := len(b)
	b = appendHeader(b, p)
	if len(p.sack) > 0 {
		b[at+1] = extSACK
		b = append(b, 0, byte(len(p.sack)))
		b = append(b, p.sack...)
	}
	return append(b, p.payload...)
}

// appendPadding appends extensions of n bytes in total to a header that starts
// at b[at] and has none yet. n below 2 cannot be, and adds nothing.
func appendPadding(b []byte, at, n int) []byte {
	link := at + 1 // where the type of the next extension goes
	for n >= 2 {
		body := min(n-2, 255)
		if n-2-body == 1 {
			body-- // a single byte would be left over
		}
		b[link] = extPadding
		link = len(b)
		b = append(b, 0, byte(body))
		b = append(b, make([]byte, body)...)
		n -= 2 + body
	}
	return b
}

// Sequence numbers wrap around; the distance from a to b is b - a.

// before reports whether a comes before b.
func before(a, b uint16) bool { return int16(a-b) < 0 }
