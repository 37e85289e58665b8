package conn

import (
	"fmt"
	"time"

	"torrentfs/swarm/wire"
)

// Limits on what peers' messages may cost. They leave honest clients room.
const (
	// MaxNoise is what messages that change nothing, or that are rare among the honest, may cost
	// ahead of noiseDecay. Of HAVEs that come twice each piece of the torrent adds one.
	MaxNoise   = 5000
	noiseDecay = 100 // a second
	// A message about all pieces, but for the first, costs one for so many of them,
	// up to maxFullCost: aria2 sends bitfields in place of many HAVEs.
	piecesPerNoise = 16
	maxFullCost    = MaxNoise / 8
	noiseBytes     = 1 << 10 // of a message's payload cost one
)

// ErrNoise ends a connection on which too much came for nothing.
var ErrNoise = fmt.Errorf("%w: too many messages for nothing", wire.ErrProtocol)

// Flood is the flood score of a peer: what its messages cost that change nothing. The owner of the
// connection keeps it.
type Flood struct {
	score   int
	repeats int // HAVEs of pieces that it had
}

// Add adds a cost, and returns [ErrNoise] if it is too much.
func (f *Flood) Add(cost int) error {
	if f.score += cost; f.score > MaxNoise {
		return ErrNoise
	}
	return nil
}

// Repeat counts a HAVE of a piece that the peer had. The torrent has so many pieces.
func (f *Flood) Repeat(pieces int) error {
	if f.repeats++; f.repeats > MaxNoise+pieces {
		return ErrNoise
	}
	return nil
}

// Decay is called once a second.
func (f *Flood) Decay() {
	f.score = max(0, f.score-noiseDecay)
	f.repeats = max(0, f.repeats-noiseDecay)
}

// Cost is what an event costs that changes nothing, or is rare among the honest. heardBits reports
// whether the peer has told of all pieces before, seed whether it has all of them; pieces is their
// number.
func (e *Event) Cost(heardBits, seed bool, pieces int) int {
	full := min(1+pieces/piecesPerNoise, maxFullCost) // of a message that makes us look at all pieces
	switch e.Kind {
	case Message:
	case DontHave:
		if seed {
			return full // the picker keeps no list of what seeds have: now it needs one
		}
		return 1
	case Hello, Metadata, PEX, Holepunch:
		return 1
	default:
		return 0
	}
	switch e.ID {
	case wire.Choke, wire.Unchoke, wire.Interested, wire.NotInterested, wire.Cancel, wire.Reject, wire.AllowedFast:
		return 1
	case wire.Bitfield, wire.HaveAll, wire.HaveNone:
		if heardBits {
			return full
		}
	}
	return 0
}

// overhear counts a message that the owner may never see: without a geometry every one of them.
func (c *Conn) overhear(m *wire.Message) error {
	cost := 1.0
	switch m.ID {
	case wire.KeepAlive, wire.Suggest, wire.Port, wire.Extended:
		if c.cfg.Geometry != nil { // else blocks of metadata, which are long, are no noise
			cost += float64(len(m.Payload) / noiseBytes)
		}
	default:
		if c.cfg.Geometry != nil {
			return nil
		}
	}
	if !c.noise.Take(time.Now(), cost, noiseDecay, MaxNoise) {
		return ErrNoise
	}
	return nil
}
