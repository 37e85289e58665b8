package swarm

import (
	"encoding/binary"
	"fmt"
	"math"
	"testing"
	"time"

	"torrentfs/metainfo"
	"torrentfs/swarm/conn"
	"torrentfs/swarm/wire"
)

// FuzzPickerGeometry holds that what package metainfo takes, whatever sizes it claims, has block numbers that the picker
// and an int of 32 bits can hold.
func FuzzPickerGeometry(f *testing.F) {
	f.Add(int64(1), int64(16<<10))
	f.Add(int64(1<<46), int64(512<<20)) // 2^32 blocks
	f.Add(int64(metainfo.MaxBlocks)<<14, int64(512<<20))
	f.Add(int64(metainfo.MaxBlocks-1<<15)<<14, int64(512<<20))
	f.Add(int64(metainfo.DefaultPieces)<<14, int64(16<<10))
	f.Add(int64(math.MaxInt64), int64(1<<30))
	f.Fuzz(func(t *testing.T, length, pieceLength int64) {
		const root = "0123456789abcdef0123456789abcdef"
		info, err := metainfo.ParseInfo(fmt.Appendf(nil,
			"d9:file treed1:fd0:d6:lengthi%de11:pieces root32:%seee12:meta versioni2e4:name1:f12:piece lengthi%dee",
			length, root, pieceLength), metainfo.Limits{Pieces: math.MaxInt, PieceLength: math.MaxInt64})
		if err != nil {
			return
		}
		last := info.NumPieces() - 1
		block := info.NumBlocks(last) - 1
		id := int64(last)*int64(info.BlocksPerPiece()) + int64(block)
		if block >= info.BlocksPerPiece() || id > math.MaxInt32 || info.PieceLength()+blockSize > math.MaxInt32 {
			t.Fatalf("block %d of piece %d does not fit an int of 32 bits", block, last)
		}
	})
}

// Numbers that no torrent has, and that are negative where an int has 32 bits,
// end a connection, or are refused (blocks of metadata), and harm nobody else.
func TestImpossibleNumbersOfAPeer(t *testing.T) {
	const huge = math.MaxUint32
	hello := (&wire.ExtHandshake{M: map[string]uint8{wire.ExtMetadata: 1}, Reqq: math.MaxInt32, MetadataSize: math.MaxInt64}).Append(nil)
	block := wire.Metadata{Type: wire.MetadataRequest, Piece: math.MaxInt32/wire.MetadataBlock + 1}
	for name, opening := range map[string][]byte{
		"suggest":       appendSuggest(huge),
		"allowed fast":  wire.AppendAllowedFast(nil, huge),
		"request piece": wire.AppendRequest(nil, huge, 0, blockSize),
		"request begin": wire.AppendRequest(nil, 0, 1<<31, blockSize),
		"request end":   wire.AppendRequest(nil, 0, blockSize, huge),
		"cancel":        wire.AppendCancel(nil, huge, 1<<31, huge),
		"reject":        wire.AppendReject(nil, huge, 1<<31, huge),
		"piece":         append(wire.AppendPieceHeader(nil, 0, 1<<31, blockSize), make([]byte, blockSize)...),
		"metadata":      wire.AppendExtended(wire.AppendExtended(nil, 0, hello), conn.ExtMetadata, block.Append(nil)),
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, 2<<20+1, 64<<10, Config{}, func(w *world) {
				opt := w.options("rude")
				opt.Opening = opening
				rude := w.serve(wan(10, 20*ms), opt)
				w.serve(wan(10, 20*ms), w.options("good"))
				w.await(w.add(TorrentConfig{Prefetch: true}), time.Minute)
				if rec := rude.Record(); rec.Conns == 0 || rec.Open != 0 && name != "metadata" {
					t.Errorf("the rude peer has %d of %d connections open", rec.Open, rec.Conns)
				}
			})
		})
	}
}

// appendSuggest is a suggest piece message (BEP 6), which we never send.
func appendSuggest(piece uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{0, 0, 0, 5, byte(wire.Suggest)}, piece)
}

// What may be asked of peers for a link is what a torrent may have.
func TestLimitsAgree(t *testing.T) {
	if wire.MaxMetadata != metainfo.DefaultInfoBytes || wire.MaxPieces != metainfo.DefaultPieces {
		t.Errorf("%d bytes of metadata and %d pieces on the wire, %d and %d in a torrent",
			wire.MaxMetadata, wire.MaxPieces, metainfo.DefaultInfoBytes, metainfo.DefaultPieces)
	}
}
