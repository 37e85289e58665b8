package wire

import (
	"errors"
	"fmt"
	"io"
)

// HandshakeLen is the length of a handshake in bytes.
const HandshakeLen = 1 + len(protocolName) + 8 + 20 + 20

const protocolName = "BitTorrent protocol"

// ErrNotBitTorrent means that a stream does not begin with the handshake of BEP 3: another
// protocol, or an encrypted handshake (MSE).
var ErrNotBitTorrent = errors.New("not a BitTorrent handshake")

// Features are the protocol extensions that a handshake's reserved bits
// announce (BEP 4). What two peers may use is the intersection of theirs.
type Features uint8

const (
	// FeatureExtension is the extension protocol of BEP 10.
	FeatureExtension Features = 1 << iota
	// FeatureDHT announces a DHT node, and that [Port] messages are welcome (BEP 5).
	FeatureDHT
	// FeatureFast is the fast extension of BEP 6.
	FeatureFast
	// FeatureV2 means that a peer that was met under the v1 info-hash of a hybrid torrent speaks v2
	// as well (BEP 52). A connection under the v2 info-hash needs no bit.
	FeatureV2
)

// The bit of each feature in the reserved bytes.
var featureBits = [...]struct {
	feature Features
	index   int
	mask    byte
}{
	{FeatureExtension, 5, 0x10},
	{FeatureDHT, 7, 0x01},
	{FeatureFast, 7, 0x04},
	{FeatureV2, 7, 0x10},
}

// Has reports whether all of want are among f.
func (f Features) Has(want Features) bool { return f&want == want }

// Handshake opens a connection (BEP 3, "peer protocol"). InfoHash is the v1
// info-hash, or the first 20 bytes of the v2 info-hash.
type Handshake struct {
	Reserved [8]byte
	InfoHash [20]byte
	PeerID   [20]byte
}

// NewHandshake returns a handshake that announces f.
func NewHandshake(infoHash, peerID [20]byte, f Features) Handshake {
	h := Handshake{InfoHash: infoHash, PeerID: peerID}
	h.SetFeatures(f)
	return h
}

// Features returns what the reserved bits announce.
func (h Handshake) Features() Features {
	var f Features
	for _, b := range featureBits {
		if h.Reserved[b.index]&b.mask != 0 {
			f |= b.feature
		}
	}
	return f
}

// SetFeatures sets the bits of f and clears those of the other features; bits
// that this package has no name for stay.
func (h *Handshake) SetFeatures(f Features) {
	for _, b := range featureBits {
		h.Reserved[b.index] &^= b.mask
		if f.Has(b.feature) {
			h.Reserved[b.index] |= b.mask
		}
	}
}

// Append appends the handshake's [HandshakeLen] bytes to b.
func (h Handshake) Append(b []byte) []byte {
	b = append(b, byte(len(protocolName)))
	b = append(b, protocolName...)
	b = append(b, h.Reserved[:]...)
	b = append(b, h.InfoHash[:]...)
	return append(b, h.PeerID[:]...)
}

// ParseHandshake decodes the first [HandshakeLen] bytes of b. Errors are
// [ErrNotBitTorrent] and [io.ErrUnexpectedEOF].
func ParseHandshake(b []byte) (Handshake, error) {
	var h Handshake
	if !handshakePrefix(b) {
		return h, fmt.Errorf("parse handshake: %w", ErrNotBitTorrent)
	}
	if len(b) < HandshakeLen {
		return h, fmt.Errorf("parse handshake: %w", io.ErrUnexpectedEOF)
	}
	b = b[1+len(protocolName):]
	b = b[copy(h.Reserved[:], b):]
	b = b[copy(h.InfoHash[:], b):]
	copy(h.PeerID[:], b)
	return h, nil
}

// handshakePrefix reports whether b agrees with a handshake's first bytes, as
// far as it goes.
func handshakePrefix(b []byte) bool {
	if len(b) == 0 {
		return true
	}
	name := b[1:min(len(b), 1+len(protocolName))]
	return b[0] == byte(len(protocolName)) && string(name) == protocolName[:len(name)]
}

// ReadHandshake reads exactly one handshake and nothing behind it. It gives up
// on the first read that shows another protocol. Errors are [ErrNotBitTorrent],
// [io.EOF] when nothing came at all, [io.ErrUnexpectedEOF], and those of r.
func ReadHandshake(r io.Reader) (Handshake, error) {
	var buf [HandshakeLen]byte
	for n, idle := 0, 0; n < len(buf); {
		m, err := r.Read(buf[n:])
		n += m
		switch {
		case !handshakePrefix(buf[:n]):
			return Handshake{}, fmt.Errorf("read handshake: %w", ErrNotBitTorrent)
		case n == len(buf):
		case err == io.EOF && n > 0:
			return Handshake{}, fmt.Errorf("read handshake: %w", io.ErrUnexpectedEOF)
		case err != nil:
			return Handshake{}, fmt.Errorf("read handshake: %w", err)
		case m > 0:
			idle = 0
		default:
			if idle++; idle == maxEmptyReads {
				return Handshake{}, fmt.Errorf("read handshake: %w", io.ErrNoProgress)
			}
		}
	}
	return ParseHandshake(buf[:])
}
