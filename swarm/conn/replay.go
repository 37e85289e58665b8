package conn

import "torrentfs/swarm/wire"

// MaxReplay is how many bytes of messages are kept that nobody could understand without a geometry.
// It has room for the largest bitfield and some thousands of HAVEs.
const MaxReplay = wire.MaxPieces/8 + 64<<10

// replayBuffer is what a peer said that only a torrent can understand. It is kept as it came,
// within a bound.
type replayBuffer struct {
	messages []byte
	// The last of those that contradict each other, which come in any number;
	// KeepAlive where none came.
	choke, interest wire.ID
	some            bool // choke and interest are set
	tooMuch         bool
}

// note keeps a message.
func (h *replayBuffer) note(m *wire.Message) {
	if !h.some {
		h.choke, h.interest, h.some = wire.KeepAlive, wire.KeepAlive, true
	}
	switch m.ID {
	case wire.Choke, wire.Unchoke:
		h.choke = m.ID
	case wire.Interested, wire.NotInterested:
		h.interest = m.ID
	case wire.Have, wire.Bitfield, wire.HaveAll, wire.HaveNone, wire.AllowedFast, wire.Extended:
		if len(h.messages)+len(m.Payload)+16 > MaxReplay {
			h.tooMuch, h.messages = true, nil
		}
		if !h.tooMuch {
			h.messages = m.Append(h.messages)
		}
	}
}

// replay is all of it, as if it came now.
func (h *replayBuffer) replay() []byte {
	b := h.messages
	for _, id := range []wire.ID{h.choke, h.interest} {
		if h.some && id != wire.KeepAlive {
			b = (&wire.Message{ID: id}).Append(b)
		}
	}
	return b
}
