package wire

import (
	"errors"
	"fmt"
	"math"

	"torrentfs/metainfo/bencode"
)

const (
	// MetadataBlock is the length of a block of metadata (BEP 9); the last
	// one may be shorter.
	MetadataBlock = 16 << 10
	// MaxMetadata is the largest info dictionary that is worth asking for, in
	// bytes; a claim beyond it is a protocol violation.
	MaxMetadata = 30 << 20
)

// MetadataType is the kind of a ut_metadata message.
type MetadataType uint8

// The kinds of BEP 9. Others must be ignored by the receiver.
const (
	MetadataRequest MetadataType = 0
	MetadataData    MetadataType = 1
	MetadataReject  MetadataType = 2
	// MetadataUnknown is how a kind that BEP 9 does not know is reported.
	MetadataUnknown MetadataType = 255
)

// Metadata is the body of a ut_metadata message (BEP 9).
type Metadata struct {
	Type  MetadataType
	Piece int // block of the metadata, from 0; a peer may name one that does not exist
	// TotalSize and Data are those of MetadataData: the size of the whole info
	// dictionary as claimed (1 to MaxMetadata), and the block. In a parsed
	// message Data is a part of the body.
	TotalSize int64
	Data      []byte
}

// Append appends the message's body.
func (m *Metadata) Append(b []byte) []byte {
	b = append(b, 'd')
	b = appendInt(appendString(b, "msg_type"), int64(m.Type))
	b = appendInt(appendString(b, "piece"), int64(m.Piece))
	if m.Type != MetadataData {
		return append(b, 'e')
	}
	b = appendInt(appendString(b, "total_size"), m.TotalSize)
	b = append(b, 'e')
	return append(b, m.Data...)
}

// ParseMetadata decodes the body of a ut_metadata message. Errors wrap
// [ErrProtocol]. A data message is accepted only when its block exists within
// the size that it claims, and has the right length; that the size is the one
// of the torrent, and the hash, are for the caller to check.
func ParseMetadata(body []byte) (Metadata, error) {
	d, end, err := bencode.DecodeDict(body, bodyLimits)
	if err != nil {
		return Metadata{}, bodyErrorf(ExtMetadata, err)
	}
	kind, err := d.Int("msg_type")
	if err != nil {
		return Metadata{}, bodyErrorf(ExtMetadata, err)
	}
	if kind < int64(MetadataRequest) || kind > int64(MetadataReject) {
		return Metadata{Type: MetadataUnknown}, nil
	}
	piece, err := d.IntIn("piece", 0, math.MaxInt32)
	if err != nil {
		return Metadata{}, bodyErrorf(ExtMetadata, err)
	}
	m := Metadata{Type: MetadataType(kind), Piece: int(piece)}
	if m.Type != MetadataData {
		return m, nil
	}
	if m.TotalSize, err = d.IntIn("total_size", 1, MaxMetadata); err != nil {
		return Metadata{}, bodyErrorf(ExtMetadata, err)
	}
	m.Data = body[end:]
	if err := checkMetadataBlock(&m); err != nil {
		return Metadata{}, bodyErrorf(ExtMetadata, err)
	}
	return m, nil
}

func checkMetadataBlock(m *Metadata) error {
	from := int64(m.Piece) * MetadataBlock
	if from >= m.TotalSize {
		return errors.New("block beyond the metadata")
	}
	if want := min(MetadataBlock, m.TotalSize-from); int64(len(m.Data)) != want {
		return fmt.Errorf("block of %d bytes, want %d", len(m.Data), want)
	}
	return nil
}
