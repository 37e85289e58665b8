package conn

import (
	"bytes"
	"net"
	"net/netip"
	"testing"
	"time"

	"torrentfs/internal/bitset"
	"torrentfs/swarm/wire"
)

// recording is a connection that says what was recorded, and then ends.
type recording struct{ *bytes.Reader }

func (recording) Write(p []byte) (int, error) { return len(p), nil }
func (recording) Close() error                { return nil }
func (recording) LocalAddr() net.Addr         { return &net.TCPAddr{} }
func (recording) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort("10.0.0.1:1"))
}
func (recording) SetDeadline(time.Time) error      { return nil }
func (recording) SetReadDeadline(time.Time) error  { return nil }
func (recording) SetWriteDeadline(time.Time) error { return nil }

// weight is how much memory an event's data takes, in bytes.
func weight(e Event) int {
	n := len(e.Data) + 8*len(e.Bits) + 32*len(e.Hashes)
	if x := e.Ext; x != nil {
		if x.Metadata != nil {
			n += len(x.Metadata.Data)
		}
		n += len(x.Added)
	}
	return n
}

// Whatever a peer says, before the metadata is here and after: no panic, every event is about what
// exists, all of them together take no more memory than came, and the last one is Gone.
func FuzzReader(f *testing.F) {
	block := append(wire.AppendPieceHeader(nil, 1, 0, 8<<10), make([]byte, 8<<10)...)
	ask := wire.HashRange{Index: 0, Length: 2}
	for _, seed := range [][]byte{
		nil,
		wire.AppendBitfield(wire.AppendHave(nil, 1), []uint64{1}, 2),
		wire.AppendUnchoke(wire.AppendChoke(wire.AppendHaveAll(nil))),
		wire.AppendRequest(wire.AppendReject(nil, 1, 0, 8<<10), 5, 6, 7),
		wire.AppendReject(nil, 1<<31, 1<<31, 1<<31),
		wire.AppendPort(wire.AppendKeepAlive(nil), 1),
		block,
		block[:1000],
		wire.AppendExtended(nil, 0, (&wire.ExtHandshake{M: map[string]uint8{wire.ExtPEX: 1}, MetadataSize: 100}).Append(nil)),
		wire.AppendExtended(nil, ExtMetadata, (&wire.Metadata{Type: wire.MetadataData, TotalSize: 3, Data: []byte("abc")}).Append(nil)),
		wire.AppendExtended(nil, ExtPEX, (&wire.PEX{Added: []wire.PEXPeer{{Addr: netip.MustParseAddrPort("10.0.0.1:1")}}}).Append(nil)),
		wire.AppendExtended(nil, ExtHolepunch, (&wire.Holepunch{Addr: netip.MustParseAddrPort("10.0.0.1:1")}).Append(nil)),
		wire.AppendDontHave(nil, ExtDontHave, 1),
		wire.AppendHashRequest(nil, ask),
		wire.AppendHashReject(wire.AppendHave(nil, 0), ask),
	} {
		f.Add(seed, true, false)
		f.Add(seed, false, true)
		f.Add(append(seed[:len(seed):len(seed)], seed...), true, true)
	}
	g := geometry(f, 40<<10, 32<<10)
	f.Fuzz(func(t *testing.T, said []byte, known, v2 bool) {
		c := New(recording{bytes.NewReader(said)}, hello(2))
		cfg := Config{Peer: 3, Events: make(chan Event), V2: v2}
		if known {
			cfg.Geometry = g
		}
		events := make(chan Event)
		cfg.Events = events
		ended := make(chan error, 1)
		go func() { ended <- c.Run(t.Context(), cfg) }()
		total := 0
		for e := range events {
			if e.Peer != 3 {
				t.Fatalf("%+v is of another peer", e)
			}
			if e.Kind == Gone {
				if e.Err == nil {
					t.Fatal("gone without a reason")
				}
				break
			}
			check(t, e, known, v2)
			total += weight(e)
		}
		if err := <-ended; err == nil {
			t.Error("ended without an error")
		}
		if total > len(said)+16 {
			t.Errorf("%d bytes of events for %d bytes", total, len(said))
		}
		if kept := len(c.kept.messages); kept > min(MaxReplay, len(said)) {
			t.Errorf("%d bytes are kept of %d", kept, len(said))
		}
	})
}

// check holds one event against what its fields promise.
func check(t *testing.T, e Event, known, v2 bool) {
	if !known && (e.Kind == Message || e.Kind == Progress || e.Kind == DontHave || e.Kind == DHTPort) {
		t.Fatalf("%+v without a geometry", e)
	}
	switch e.Kind {
	case Message:
		switch e.ID {
		case wire.Piece:
			if want := map[[2]int]int{{0, 0}: 16 << 10, {0, 16 << 10}: 16 << 10, {1, 0}: 8 << 10}[[2]int{e.Piece, e.Begin}]; len(e.Data) != want || want == 0 {
				t.Fatalf("a block of %d bytes at %d of piece %d", len(e.Data), e.Begin, e.Piece)
			}
		case wire.Have:
			if e.Piece > 1 {
				t.Fatalf("piece %d", e.Piece)
			}
		case wire.Bitfield:
			if len(e.Bits) != 1 || bitset.Set(e.Bits).Count() > 2 || e.Bits.Next(2) >= 0 {
				t.Fatalf("bits %v", e.Bits)
			}
		case wire.HashRequest, wire.Hashes, wire.HashReject:
			if !v2 {
				t.Fatalf("%v was not negotiated", e.ID)
			}
		case wire.KeepAlive, wire.Suggest, wire.Port, wire.Extended:
			t.Fatalf("an event of %v", e.ID)
		}
	case DontHave:
		if e.Piece < 0 || e.Piece > 1 {
			t.Fatalf("piece %d", e.Piece)
		}
	case DHTPort:
		if e.Begin <= 0 || e.Begin > 65535 {
			t.Fatalf("port %d", e.Begin)
		}
	case Hello, Metadata, PEX, Holepunch:
		x := e.Ext
		if (e.Kind == Hello) != (x.Hello != nil) || (e.Kind == Metadata) != (x.Metadata != nil) || (e.Kind == PEX) != (len(x.Added) > 0) ||
			(e.Kind == Holepunch) != (x.Holepunch != nil) {
			t.Fatalf("%d: %+v", e.Kind, x)
		}
		if known && e.Kind == Metadata && x.Metadata.Type != wire.MetadataRequest {
			t.Fatalf("metadata of a torrent that has it: %+v", x.Metadata)
		}
	default:
		t.Fatalf("%+v", e)
	}
}
