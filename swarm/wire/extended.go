package wire

import (
	"encoding/binary"
	"fmt"
	"strconv"

	"torrentfs/metainfo/bencode"
)

// Names of extensions in the "m" dictionary of an [ExtHandshake].
const (
	ExtMetadata  = "ut_metadata"  // BEP 9
	ExtPEX       = "ut_pex"       // BEP 11
	ExtDontHave  = "lt_donthave"  // BEP 54
	ExtHolepunch = "ut_holepunch" // BEP 55
)

// bodyLimits bounds the bencoding of an extension message. The deepest in use
// is the handshake's "m" dictionary.
var bodyLimits = bencode.Limits{Depth: 8, Items: 2048}

// bodyErrorf returns an error "read NAME: protocol violation: CAUSE" that wraps
// ErrProtocol and the cause.
func bodyErrorf(name string, cause error) error {
	return fmt.Errorf("read %s: %w: %w", name, ErrProtocol, cause)
}

// AppendDontHave appends an lt_donthave message, all of it: piece, which was
// announced before, is no longer held (BEP 54). extID is the receiver's number
// for the extension.
func AppendDontHave(b []byte, extID uint8, piece uint32) []byte {
	b = append(appendPrefix(b, Extended, 1+4), extID)
	return binary.BigEndian.AppendUint32(b, piece)
}

// ParseDontHave decodes the body of an lt_donthave message. Errors wrap [ErrProtocol]; a piece that
// is not within pieces (if that is above 0) is one.
func ParseDontHave(body []byte, pieces int) (piece uint32, err error) {
	if len(body) != 4 {
		return 0, bodyErrorf(ExtDontHave, fmt.Errorf("length %d, want 4", len(body)))
	}
	piece = binary.BigEndian.Uint32(body)
	if pieces > 0 && uint64(piece) >= uint64(pieces) {
		return 0, bodyErrorf(ExtDontHave, fmt.Errorf("piece %d of %d", piece, pieces))
	}
	return piece, nil
}

// The bodies that we send are small dictionaries with fixed keys, so they are
// written down in key order with these.

func appendString(b []byte, s string) []byte {
	b = strconv.AppendInt(b, int64(len(s)), 10)
	b = append(b, ':')
	return append(b, s...)
}

func appendStringBytes(b, s []byte) []byte {
	b = strconv.AppendInt(b, int64(len(s)), 10)
	b = append(b, ':')
	return append(b, s...)
}

func appendInt(b []byte, v int64) []byte {
	b = append(b, 'i')
	b = strconv.AppendInt(b, v, 10)
	return append(b, 'e')
}
