package lsd

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
)

// MaxPacket is the length that an announce should not exceed, in bytes (BEP 14).
const MaxPacket = 1400

// maxDatagram bounds what is parsed: others may not keep to MaxPacket.
const maxDatagram = 4096

// maxHeaders bounds the lines of a message.
const maxHeaders = 128

// ErrMalformed means that a datagram is no announce of BEP 14.
var ErrMalformed = errors.New("malformed announce")

const requestLine = "BT-SEARCH * HTTP/1.1"

// Announce is one message of BEP 14.
type Announce struct {
	Host       netip.AddrPort // the group it was sent to; not valid if it is missing or unreadable
	Port       uint16         // the sender listens for peers on it
	InfoHashes [][20]byte
	Cookie     string // opaque; may be empty
}

// Append appends the message to b. The info-hashes must fit: see [Capacity].
func (a Announce) Append(b []byte) []byte {
	b = append(b, requestLine+"\r\nHost: "...)
	b = append(b, a.Host.String()...)
	b = append(b, "\r\nPort: "...)
	b = strconv.AppendUint(b, uint64(a.Port), 10)
	for _, h := range a.InfoHashes {
		b = append(b, "\r\nInfohash: "...)
		b = hex.AppendEncode(b, h[:])
	}
	if a.Cookie != "" {
		b = append(b, "\r\ncookie: "...)
		b = append(b, a.Cookie...)
	}
	return append(b, "\r\n\r\n\r\n"...)
}

// Capacity is how many info-hashes fit into one packet of MaxPacket bytes beside
// the rest of a.
func (a Announce) Capacity() int {
	a.InfoHashes = nil
	return (MaxPacket - len(a.Append(nil))) / len("\r\nInfohash: 0123456789012345678901234567890123456789")
}

// Parse decodes a datagram. Names of headers are compared without regard to
// case, unknown ones are ignored; a port that is no port, a hash that is no hash,
// none at all, or two ports make the message malformed.
func Parse(b []byte) (a Announce, err error) {
	if len(b) > maxDatagram {
		return a, fmt.Errorf("%w: %d bytes", ErrMalformed, len(b))
	}
	line, rest, _ := cutLine(b)
	if string(line) != requestLine {
		return a, fmt.Errorf("%w: no request line", ErrMalformed)
	}
	for headers := 0; ; headers++ {
		var ok bool
		if line, rest, ok = cutLine(rest); !ok || len(line) == 0 {
			break
		}
		if headers == maxHeaders {
			return a, fmt.Errorf("%w: too many headers", ErrMalformed)
		}
		name, value, found := bytes.Cut(line, []byte(":"))
		if !found {
			return a, fmt.Errorf("%w: a line without a colon", ErrMalformed)
		}
		if err := a.header(string(bytes.ToLower(name)), bytes.TrimSpace(value)); err != nil {
			return a, err
		}
	}
	if a.Port == 0 || len(a.InfoHashes) == 0 {
		return a, fmt.Errorf("%w: no port or no info-hash", ErrMalformed)
	}
	return a, nil
}

func (a *Announce) header(name string, value []byte) error {
	switch name {
	case "host":
		a.Host, _ = netip.ParseAddrPort(string(value)) // says nothing that we need
	case "port":
		port, err := strconv.ParseUint(string(value), 10, 16)
		if err != nil || port == 0 || a.Port != 0 {
			return fmt.Errorf("%w: port %.20q", ErrMalformed, value)
		}
		a.Port = uint16(port)
	case "infohash":
		var h [20]byte
		if len(value) != hex.EncodedLen(len(h)) {
			return fmt.Errorf("%w: info-hash of %d characters", ErrMalformed, len(value))
		}
		if _, err := hex.Decode(h[:], value); err != nil {
			return fmt.Errorf("%w: info-hash: %w", ErrMalformed, err)
		}
		a.InfoHashes = append(a.InfoHashes, h)
	case "cookie":
		a.Cookie = string(value)
	}
	return nil
}

// cutLine returns the first line of b without its end, which should be CRLF; ok
// is false when nothing is left.
func cutLine(b []byte) (line, rest []byte, ok bool) {
	if len(b) == 0 {
		return nil, nil, false
	}
	line, rest, _ = bytes.Cut(b, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r")), rest, true
}
