package fakepeer

import (
	"bytes"
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"torrentfs/internal/simnet"
	"torrentfs/swarm/wire"
)

// client is a program under test reduced to the wire: it sends what it is told
// and sees all that comes.
type client struct {
	t *testing.T
	net.Conn
	r     *wire.Reader
	start time.Time
}

// against runs a test of a listening peer from the other end of a connection,
// with a delay of 10 ms one way. The connection and the handshakes take 40 ms.
func against(t *testing.T, opt Options, test func(c *client, p *Peer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		defer n.Close()
		a, b := n.Host("10.0.0.1", simnet.Link{Delay: 5 * ms}), n.Host("10.0.0.2", simnet.Link{Delay: 5 * ms})
		p := serve(t, a, opt)
		conn, err := b.DialContext(t.Context(), "tcp", "10.0.0.1"+port)
		if err != nil {
			t.Fatal(err)
		}
		features := wire.FeatureFast | wire.FeatureExtension
		if _, err := conn.Write(wire.NewHandshake(infoHash, [20]byte{9}, features).Append(nil)); err != nil {
			t.Fatal(err)
		}
		h, err := wire.ReadHandshake(conn)
		if err != nil {
			t.Fatal(err)
		}
		lim := wire.Limits{Pieces: numPieces, PieceLength: pieceLen, Features: features & h.Features()}
		test(&client{t, conn, wire.NewReader(conn, lim), time.Now()}, p)
		_ = conn.Close()
	})
}

func (c *client) say(b []byte) {
	c.t.Helper()
	if _, err := c.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

// next waits for a message of one type, passing over others, and returns it and
// its payload.
func (c *client) next(id wire.ID) (m wire.Message, data []byte) {
	c.t.Helper()
	for {
		if err := c.r.Next(&m); err != nil {
			c.t.Fatalf("waiting for %v: %v", id, err)
		}
		if m.ID != id {
			continue
		}
		if id == wire.Piece {
			data = make([]byte, m.Length)
			if err := c.r.ReadBlock(data); err != nil {
				c.t.Fatal(err)
			}
		}
		return m, data
	}
}

// unchoked asks for the unchoke.
func (c *client) unchoked() *client {
	c.t.Helper()
	c.say(wire.AppendInterested(nil))
	c.next(wire.Unchoke)
	c.start = time.Now()
	return c
}

// block asks for a block and returns the answer.
func (c *client) block(piece, begin uint32) []byte {
	c.t.Helper()
	c.say(wire.AppendRequest(nil, piece, begin, wire.MaxBlock))
	m, data := c.next(wire.Piece)
	if m.Piece != piece || m.Begin != begin {
		c.t.Fatalf("asked for %d+%d, got %d+%d", piece, begin, m.Piece, m.Begin)
	}
	return data
}

func right(piece, begin uint32) []byte {
	at := int(piece)*pieceLen + int(begin)
	return content[at : at+wire.MaxBlock]
}

func (c *client) took(what string, want time.Duration) {
	c.t.Helper()
	if got := time.Since(c.start); got != want {
		c.t.Errorf("%s took %v, want %v", what, got, want)
	}
}

// silent expects no message for a minute.
func (c *client) silent() {
	c.t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	var m wire.Message
	if err := c.r.Next(&m); !errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Errorf("got %v (%v), want silence", m.ID, err)
	}
}

func with(b ...Behaviour) Options {
	opt := torrent("bad")
	opt.Behaviours = b
	return opt
}

func TestHonestAnswer(t *testing.T) {
	against(t, torrent("good"), func(c *client, _ *Peer) {
		c.unchoked()
		if !bytes.Equal(c.block(2, 16<<10), right(2, 16<<10)) {
			t.Error("wrong bytes")
		}
		c.took("a block", 20*ms)
	})
}

func TestCorrupt(t *testing.T) {
	against(t, with(CorruptBlock(1, 0)), func(c *client, _ *Peer) {
		c.unchoked()
		if bytes.Equal(c.block(1, 0), right(1, 0)) || !bytes.Equal(c.block(1, 16<<10), right(1, 16<<10)) {
			t.Error("not the one block is corrupt")
		}
	})
}

func TestLate(t *testing.T) {
	slow := LateIf(3*time.Second, func(b Block) bool { return b.Piece == 1 })
	against(t, with(Late(time.Second), slow), func(c *client, _ *Peer) {
		c.unchoked()
		c.say(wire.AppendRequest(nil, 1, 0, 100))
		c.block(2, 0) // overtakes
		c.took("the late block", 1020*ms)
		c.next(wire.Piece)
		c.took("the later block", 4020*ms)
	})
}

func TestStall(t *testing.T) {
	against(t, with(StallAfter(1)), func(c *client, _ *Peer) {
		c.unchoked().block(0, 0)
		c.say(wire.AppendRequest(nil, 0, 0, 100))
		c.silent()
	})
}

func TestDrop(t *testing.T) {
	against(t, with(Drop(func(b Block) bool { return b.Piece == 0 })), func(c *client, _ *Peer) {
		c.unchoked().say(wire.AppendRequest(nil, 0, 0, 100))
		c.block(1, 0)
		c.silent()
	})
}

func TestReject(t *testing.T) {
	against(t, with(RejectIf(func(b Block) bool { return b.Piece == 0 })), func(c *client, p *Peer) {
		c.unchoked().say(wire.AppendRequest(nil, 0, 7, 100))
		if m, _ := c.next(wire.Reject); m.Piece != 0 || m.Begin != 7 || m.Length != 100 {
			t.Errorf("got %+v", m)
		}
		c.say(wire.AppendRequest(nil, numPieces, 0, 100)) // beyond the torrent
		c.next(wire.Reject)
		if r := p.Record(); r.Invalid != 1 || len(r.Requests) != 2 {
			t.Errorf("%d invalid of %d", r.Invalid, len(r.Requests))
		}
	})
}

func TestTwice(t *testing.T) {
	against(t, with(Twice()), func(c *client, p *Peer) {
		c.unchoked().block(0, 0)
		if _, data := c.next(wire.Piece); !bytes.Equal(data, right(0, 0)) {
			t.Error("the copy differs")
		}
		if r := p.Record(); r.Uploaded != 2*wire.MaxBlock {
			t.Errorf("uploaded %d", r.Uploaded)
		}
	})
}

func TestResize(t *testing.T) {
	against(t, with(Resize(-1)), func(c *client, _ *Peer) {
		if got := c.unchoked().block(0, 0); len(got) != wire.MaxBlock-1 {
			t.Errorf("%d bytes", len(got))
		}
	})
	against(t, with(Resize(1)), func(c *client, _ *Peer) {
		c.unchoked().say(wire.AppendRequest(nil, 0, 0, wire.MaxBlock))
		if err := c.r.Next(new(wire.Message)); !errors.Is(err, wire.ErrProtocol) {
			t.Errorf("got %v", err)
		}
	})
}

func TestResetMidBlock(t *testing.T) {
	against(t, with(ResetAfter(1)), func(c *client, p *Peer) {
		c.unchoked().block(0, 0)
		c.say(wire.AppendRequest(nil, 0, 0, wire.MaxBlock))
		// A reset may overtake what was sent before it.
		var m wire.Message
		err := c.r.Next(&m)
		if err == nil {
			err = c.r.ReadBlock(make([]byte, m.Length))
		}
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("got %v, want a reset", err)
		}
		synctest.Wait()
		if r := p.Record(); r.Open != 0 || r.Uploaded != wire.MaxBlock*3/2 {
			t.Errorf("%d open, %d uploaded", r.Open, r.Uploaded)
		}
	})
}

func TestTrickle(t *testing.T) {
	opt := torrent("loris")
	opt.TrickleBytes, opt.TrickleEvery = 1000, time.Second
	against(t, opt, func(c *client, _ *Peer) {
		if got := c.unchoked().block(0, 0); !bytes.Equal(got, right(0, 0)) {
			t.Error("wrong bytes")
		}
		c.took("a trickled block", 17*time.Second+20*ms) // 16397 bytes
	})
}

func TestCancel(t *testing.T) {
	for _, ignore := range []bool{false, true} {
		opt := with(Late(time.Second))
		opt.IgnoreCancel = ignore
		against(t, opt, func(c *client, p *Peer) {
			c.unchoked().say(wire.AppendCancel(wire.AppendRequest(nil, 0, 0, 100), 0, 0, 100))
			if ignore {
				c.next(wire.Piece)
				c.took("the cancelled block", 1020*ms)
			} else {
				c.next(wire.Reject)
				c.took("the reject", 20*ms)
			}
			if r := p.Record(); len(r.Cancels) != 1 || r.Cancels[0].Block != (Block{0, 0, 100}) {
				t.Errorf("cancels: %+v", r.Cancels)
			}
		})
	}
}

func TestChokePattern(t *testing.T) {
	opt := with(Late(time.Second))
	opt.UnchokeAfter = 3 * time.Second
	opt.Chokes = []time.Duration{2 * time.Second, 5 * time.Second}
	opt.AllowedFast = []uint32{4}
	against(t, opt, func(c *client, p *Peer) {
		c.say(wire.AppendRequest(nil, 3, 0, 100)) // too early
		c.next(wire.Reject)
		if got := c.block(4, 0); !bytes.Equal(got, right(4, 0)) {
			t.Error("not served although allowed fast")
		}
		c.start = time.Now()
		c.say(wire.AppendInterested(nil))
		c.next(wire.Unchoke)
		c.took("the unchoke", 3020*ms)
		c.start = time.Now()
		time.Sleep(1500 * ms)
		c.say(wire.AppendRequest(nil, 3, 0, 100)) // due after the choke
		c.next(wire.Choke)
		c.took("the choke", 2*time.Second)
		c.next(wire.Reject)
		c.next(wire.Unchoke)
		c.took("the second unchoke", 7*time.Second)
		c.next(wire.Choke)
		c.took("the second choke", 9*time.Second)
		if r := p.Record(); r.WhileChoked != 1 {
			t.Errorf("%d requests while choked", r.WhileChoked)
		}
	})
}

func TestNeverUnchokes(t *testing.T) {
	opt := torrent("miser")
	opt.UnchokeAfter, opt.NoFast, opt.NoExtension = -1, true, true
	against(t, opt, func(c *client, _ *Peer) {
		c.next(wire.Bitfield)
		c.say(wire.AppendRequest(wire.AppendInterested(nil), 0, 0, 100))
		c.silent()
	})
}

func TestOpenings(t *testing.T) {
	for name, raw := range map[string][]byte{
		"spare bits":   BadBitfield(numPieces),
		"huge message": HugeMessage(),
		"short block":  Unsolicited(0, 0, nil),
	} {
		opt := torrent(name)
		opt.Opening, opt.NoExtension = raw, true
		against(t, opt, func(c *client, _ *Peer) {
			if err := c.r.Next(new(wire.Message)); !errors.Is(err, wire.ErrProtocol) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	if b := BadBitfield(16); len(b) != 5+3 {
		t.Errorf("bad bitfield of 16 pieces: %x", b)
	}
	opt := torrent("flood")
	opt.Extra = append(HaveFlood(1000, numPieces), RequestFlood(500, numPieces, 100)...)
	opt.Extra = append(opt.Extra, Unsolicited(1, 2, []byte("x"))...)
	against(t, opt, func(c *client, p *Peer) {
		c.next(wire.HaveAll)
		var m wire.Message
		for i := range 1500 {
			if err := c.r.Next(&m); err != nil || m.ID != wire.Have && m.ID != wire.Request {
				t.Fatalf("message %d: %v, %v", i, m.ID, err)
			}
		}
		c.next(wire.Piece)
		p.Say(wire.AppendPort(nil, 1))
		p.Announce(3)
		c.next(wire.Port)
		c.next(wire.Have)
	})
}

func TestHandshakeDelay(t *testing.T) {
	opt := torrent("sleepy")
	opt.HandshakeDelay = 10 * time.Second
	start := time.Time{}
	against(t, opt, func(c *client, _ *Peer) { start = c.start })
	if want := time.Date(2000, 1, 1, 0, 0, 10, 0, time.UTC).Add(40 * ms); !start.Equal(want) {
		t.Errorf("handshake at %v, want %v", start.UTC(), want)
	}
}

// TestViolations: a program that breaks the protocol is told on.
func TestViolations(t *testing.T) {
	for name, raw := range map[string][]byte{
		"have beyond":     wire.AppendHave(nil, numPieces),
		"unknown message": {0, 0, 0, 1, 99},
		"bad extension":   wire.AppendExtended(nil, 0, []byte("x")),
		"bad donthave":    wire.AppendDontHave(nil, donthaveID, numPieces),
	} {
		against(t, torrent("judge"), func(c *client, p *Peer) {
			c.say(raw)
			if err := p.Wait(c.t.Context(), func(r *Record) bool { return r.Open == 0 }); err != nil {
				t.Fatal(err)
			}
			if r := p.Record(); len(r.Errors) != 1 || !errors.Is(r.Errors[0], wire.ErrProtocol) {
				t.Errorf("%s: errors %v", name, r.Errors)
			}
		})
	}
}
