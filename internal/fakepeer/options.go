package fakepeer

import (
	"io"
	"log/slog"
	"time"

	"torrentfs/metainfo"
	"torrentfs/swarm/wire"
)

// Options say who a peer is and what it does. Size, PieceLength and Content
// describe the torrent; all else may be zero.
type Options struct {
	InfoHash    [20]byte
	HashAlone   bool     // closes on a handshake with any other info-hash
	PeerID      [20]byte // zero: one made from Name
	Name        string   // "v" of the extension handshake
	Size        int64    // of the piece space, bytes
	PieceLength int64
	PieceSize   func(piece metainfo.Piece) int64 // of torrents with short pieces in the middle (v2); nil: only the last is short
	Content     io.ReaderAt                      // the piece space; the right bytes, even if the peer is to send others

	// What it holds. Nil is everything: a seed. A leecher has func(int) bool {
	// return false }; what it downloads it then has.
	Have func(piece metainfo.Piece) bool
	// Want are the pieces to be downloaded, in order.
	Want []int
	// Depth is the number of requests that it keeps outstanding; 0 is 16.
	Depth int
	// CancelEvery makes it cancel each so many-th request right after sending it; 0 is none. It
	// takes the block if it comes nevertheless, and asks again after a reject.
	CancelEvery int

	NoFast      bool     // does not announce the fast extension (BEP 6)
	NoExtension bool     // does not announce the extension protocol (BEP 10)
	V2          bool     // announces BEP 52
	InfoHashV2  [20]byte // the answer to who announces BEP 52; zero: InfoHash in any case
	// Hashes answers a hash request correctly, or not at all if it is false. If nil, requests are
	// ignored.
	Hashes         func(ask wire.HashRange) (hashes [][32]byte, ok bool)
	HashBehaviours []HashBehaviour // spoil each answer to a hash request, in this order

	Reqq       int              // in the extension handshake; 0 is 250
	Extensions map[string]uint8 // that the extension handshake names beside lt_donthave; what comes of them is ignored

	HandshakeDelay time.Duration // waits before it sends its handshake; negative: never sends it

	// Opening is sent after the handshakes in place of an honest bitfield; not
	// nil but empty is nothing at all. Extra is sent behind it.
	Opening []byte
	Extra   []byte

	// UnchokeAfter is how long after "interested" it unchokes; negative: never.
	UnchokeAfter time.Duration
	// Chokes is a pattern that is followed after the first unchoke: choked
	// again after Chokes[0], unchoked after another Chokes[1], and so on,
	// repeated without end.
	Chokes []time.Duration

	UploadRate   int64         // payload bytes per second; 0 = no limit
	TrickleBytes int           // above 0: payload is written in parts of so many bytes,
	TrickleEvery time.Duration // with such a pause before each (a slow loris)
	IgnoreCancel bool          // serves cancelled requests
	IgnoreChoke  bool          // serves requests while it chokes, and keeps them
	AllowedFast  []uint32      // sent after the bitfield, and served while choking
	Behaviours   []Behaviour   // spoil each answer, in this order
	MaxRecorded  int           // entries kept of each list in the Record; 0 is 100,000
	Logger       *slog.Logger  // nil: silent
	KeepAlive    time.Duration // sends one this often; 0: none
}

func (o Options) withDefaults() Options {
	if o.PeerID == [20]byte{} {
		copy(o.PeerID[:], "-FP0001-"+o.Name+"............")
	}
	if o.Reqq == 0 {
		o.Reqq = 250
	}
	if o.Depth == 0 {
		o.Depth = 16
	}
	if o.MaxRecorded == 0 {
		o.MaxRecorded = 100_000
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Have == nil {
		o.Have = func(int) bool { return true }
	}
	return o
}

func (o *Options) numPieces() int { return int((o.Size + o.PieceLength - 1) / o.PieceLength) }

func (o *Options) pieceSize(piece metainfo.Piece) int64 {
	if o.PieceSize != nil {
		return o.PieceSize(piece)
	}
	return min(o.PieceLength, o.Size-int64(piece)*o.PieceLength)
}

// valid reports whether a block lies within the torrent.
func (o *Options) valid(b Block) bool {
	return int64(b.Piece) < int64(o.numPieces()) && b.Length > 0 && b.Length <= wire.MaxBlock &&
		int64(b.Begin)+int64(b.Length) <= o.pieceSize(int(b.Piece))
}

func (o *Options) features() wire.Features {
	f := wire.FeatureFast | wire.FeatureExtension
	if o.NoFast {
		f &^= wire.FeatureFast
	}
	if o.NoExtension {
		f &^= wire.FeatureExtension
	}
	if o.V2 {
		f |= wire.FeatureV2
	}
	return f
}

// read returns a block's right bytes.
func (o *Options) read(b Block) ([]byte, error) {
	p := make([]byte, b.Length)
	_, err := o.Content.ReadAt(p, int64(b.Piece)*o.PieceLength+int64(b.Begin))
	if err == io.EOF { // at the very end of the content
		err = nil
	}
	return p, err
}
