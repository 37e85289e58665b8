package metainfo

import (
	"errors"
	"fmt"
	"io"
	"math"

	"torrentfs/metainfo/bencode"
)

// Limits of the zero Limits.
const (
	DefaultBytes       = 10 << 20  // of a .torrent
	DefaultInfoBytes   = 30 << 20  // of an info dictionary that came from peers (BEP 9)
	DefaultPieces      = 1 << 21   // pieces
	DefaultPieceLength = 512 << 20 // bytes of a piece
	DefaultNameBytes   = 128 << 20 // of all paths together
	maxPathDepth       = 100       // elements of one path
	maxFieldItems      = 200_000   // values in one field outside info, such as announce-list
)

// Bounds that no Limits raises. What a torrent within them makes of its pieces and blocks fits the
// numbers that the packages above keep them in, also if an int has 32 bits: the packages above do
// not check again.
const (
	MaxPieceLength = 1 << 30           // bytes of a piece; an offset in one, and a block behind it, fit an int32
	MaxPieces      = math.MaxInt32 - 1 // pieces
	MaxBlocks      = math.MaxInt32     // pieces times blocks of a full piece: 32 TiB
)

// Limits bounds what a torrent may ask for. A zero field stands for its
// default. Parse, ParseInfo and Create have the same limits, and decide on the
// same numbers: checkPieceLength and checkSize.
type Limits struct {
	Bytes       int64 // greatest .torrent, in bytes
	Pieces      int   // most pieces, up to MaxPieces
	PieceLength int64 // greatest piece length, in bytes, up to MaxPieceLength
	// FoldNames makes two names that differ by case or Unicode normalisation
	// alone count as equal, as some file systems have it (macOS), so that the
	// second is renamed.
	FoldNames bool

	// For tests.
	infoBytes int64 // greatest info dictionary for ParseInfo, in bytes
	items     int   // most bencoded values (bencode.Limits.Items)
	// nameBytes is the most memory, in bytes, that the paths of all files may
	// take together. A deep v2 file tree names long paths at little cost to
	// its author.
	nameBytes int64
}

func (l Limits) withDefaults() Limits {
	def := func(p *int64, v int64) {
		if *p == 0 {
			*p = v
		}
	}
	def(&l.Bytes, DefaultBytes)
	def(&l.infoBytes, DefaultInfoBytes)
	def(&l.PieceLength, DefaultPieceLength)
	def(&l.nameBytes, DefaultNameBytes)
	if l.Pieces == 0 {
		l.Pieces = DefaultPieces
	}
	return l
}

// checkPieceLength decides which piece lengths a torrent may have; v2 is set if
// it has a v2 half, alone or beside a v1 one.
func (l Limits) checkPieceLength(length int64, v2 bool) error {
	limit := min(l.PieceLength, MaxPieceLength)
	switch {
	case length < 1:
		return fmt.Errorf("piece length: %d is not positive", length)
	case length > limit:
		return fmt.Errorf("piece length: %d bytes: %w of %d", length, ErrLimit, limit)
	case v2 && (length < BlockSize || length&(length-1) != 0):
		return fmt.Errorf("piece length: %d is no power of two from 16384 up", length)
	}
	return nil
}

// checkSize decides how long a torrent's piece space may be: size bytes, in
// pieces of a length that checkPieceLength let pass.
func (l Limits) checkSize(size, pieceLength int64) error {
	pieces, limit := ceilDiv(size, pieceLength), min(int64(l.Pieces), MaxPieces)
	if pieces > limit {
		return fmt.Errorf("%d pieces: %w of %d", pieces, ErrLimit, limit)
	}
	if blocks := pieces * ceilDiv(pieceLength, BlockSize); blocks > MaxBlocks {
		return fmt.Errorf("%d pieces of %d bytes: %d blocks: %w of %d", pieces, pieceLength, blocks, ErrLimit, MaxBlocks)
	}
	return nil
}

func (l Limits) bencode() bencode.Limits {
	return bencode.Limits{Items: l.items}
}

// Sentinels that errors of this package wrap.
var (
	// ErrLimit: the torrent exceeds one of the Limits.
	ErrLimit = errors.New("exceeds the limit")
	// ErrEmpty: the torrent has no byte of content.
	ErrEmpty = errors.New("torrent has no content")
	// ErrVersion: the torrent has a meta version other than 2 (BEP 52).
	ErrVersion = errors.New("unsupported meta version")
	// ErrLayers: a value of the key "piece layers" does not prove the pieces of a
	// v2 file, or belongs to none.
	ErrLayers = errors.New("piece layers do not match")
	// ErrInconsistent: the v1 and the v2 half of a hybrid torrent differ.
	ErrInconsistent = errors.New("v1 and v2 parts of the torrent differ")
)

// Read reads a .torrent of at most lim.Bytes from r and parses it. What
// follows in r after that many bytes is not read.
func Read(r io.Reader, lim Limits) (*MetaInfo, error) {
	limit := lim.withDefaults().Bytes
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read torrent: %w", err)
	}
	return Parse(data, lim)
}
