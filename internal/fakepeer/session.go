package fakepeer

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"torrentfs/swarm/wire"
)

// donthaveID is our number for lt_donthave messages.
const donthaveID = 3

// session is one connection.
type session struct {
	peer     *Peer
	conn     net.Conn
	incoming bool
	wake     chan struct{} // the writer has something to look at

	// Set before the writer starts.
	fast, extension bool

	// Guarded by peer.mu.
	opened  bool   // our bitfield is on its way
	control []byte // to be written as soon as possible
	queue   []queued

	hashes []queuedHashes

	choking    bool // we choke the program
	interested bool // the program in us
	chokeAt    time.Time
	chokeStep  int // next entry of Options.Chokes

	choked   bool // the program chokes us
	has      []bool
	inflight []Block // our requests
	sent     int     // our requests ever
	retryAt  time.Time
	wanted   bool // we said that we are interested
}

// queued is an answer that is due at some time.
type queued struct {
	Answer
	due time.Time
}

func newSession(p *Peer, c net.Conn, incoming bool) *session {
	return &session{
		peer: p, conn: c, incoming: incoming, wake: make(chan struct{}, 1),
		choking: true, choked: true, has: make([]bool, len(p.have)),
	}
}

// run talks until the connection ends, and returns why it did.
func (s *session) run() error {
	defer func() { _ = s.conn.Close() }()
	theirs, err := s.handshake()
	if err != nil {
		return err
	}
	both := s.peer.opt.features() & theirs.Features()
	s.fast, s.extension = both.Has(wire.FeatureFast), both.Has(wire.FeatureExtension)
	s.open()

	done := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		s.write(done)
		_ = s.conn.Close() // wakes the reader
	})
	err = s.read(both)
	close(done)
	_ = s.conn.Close() // wakes the writer
	writer.Wait()
	return err
}

func (s *session) handshake() (theirs wire.Handshake, err error) {
	opt := &s.peer.opt
	send := func() error {
		if opt.HandshakeDelay < 0 {
			return nil
		}
		if !s.peer.sleep(opt.HandshakeDelay) {
			return net.ErrClosed
		}
		own := opt.InfoHash
		if s.incoming && opt.InfoHashV2 != [20]byte{} && theirs.Features().Has(wire.FeatureV2) {
			own = opt.InfoHashV2
		}
		_, err := s.conn.Write(wire.NewHandshake(own, opt.PeerID, opt.features()).Append(nil))
		return err
	}
	if !s.incoming {
		if err := send(); err != nil {
			return theirs, err
		}
	}
	if theirs, err = wire.ReadHandshake(s.conn); err != nil {
		return theirs, err
	}
	s.peer.mu.Lock()
	add(s.peer, &s.peer.rec.Handshakes, theirs)
	s.peer.note()
	s.peer.mu.Unlock()
	if s.peer.opt.HashAlone && theirs.InfoHash != s.peer.opt.InfoHash {
		return theirs, fmt.Errorf("handshake for another torrent, %x", theirs.InfoHash)
	}
	if s.incoming {
		err = send()
	}
	return theirs, err
}

// sleep waits for d, and reports false when the peer was closed meanwhile.
func (p *Peer) sleep(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-p.done:
		return false
	}
}

// open queues the first messages.
func (s *session) open() {
	p := s.peer
	p.mu.Lock()
	defer p.mu.Unlock()
	s.opened = true
	if s.extension {
		h := wire.ExtHandshake{
			M: map[string]uint8{wire.ExtDontHave: donthaveID}, V: p.opt.Name, Reqq: p.opt.Reqq,
		}
		maps.Copy(h.M, p.opt.Extensions)
		s.send(wire.AppendExtended(nil, 0, h.Append(nil)))
	}
	switch {
	case p.opt.Opening != nil:
		s.send(p.opt.Opening)
	case s.fast && !slices.Contains(p.have, false):
		s.send(wire.AppendHaveAll(nil))
	case s.fast && !slices.Contains(p.have, true):
		s.send(wire.AppendHaveNone(nil))
	default:
		words := make([]uint64, (len(p.have)+63)/64)
		for i, have := range p.have {
			if have {
				words[i/64] |= 1 << (i % 64)
			}
		}
		s.send(wire.AppendBitfield(nil, words, len(p.have)))
	}
	if s.fast {
		for _, piece := range p.opt.AllowedFast {
			s.send(wire.AppendAllowedFast(nil, piece))
		}
	}
	s.send(p.opt.Extra)
}

// send queues raw bytes for the writer. mu is held.
func (s *session) send(raw []byte) {
	s.control = append(s.control, raw...)
	s.poke()
}

func (s *session) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// read takes in what the program says.
func (s *session) read(both wire.Features) error {
	opt := &s.peer.opt
	if opt.V2 {
		both |= wire.FeatureV2
	}
	r := wire.NewReader(s.conn, wire.Limits{Pieces: opt.numPieces(), PieceLength: opt.PieceLength, Features: both})
	var m wire.Message
	for {
		if err := r.Next(&m); err != nil {
			return err
		}
		var data []byte
		if m.ID == wire.Piece {
			data = make([]byte, m.Length)
			if err := r.ReadBlock(data); err != nil {
				return err
			}
		}
		s.peer.mu.Lock()
		err := s.take(&m, data)
		s.peer.note()
		s.peer.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

// take reacts to one message. mu is held.
func (s *session) take(m *wire.Message, data []byte) error {
	p := s.peer
	rec := &p.rec
	rec.Messages[m.ID]++
	event := Event{Block{m.Piece, m.Begin, m.Length}, time.Now()}
	switch m.ID {
	case wire.Choke:
		rec.Unchoked, s.choked = false, true
		if !s.fast {
			p.giveBack(s)
		}
	case wire.Unchoke:
		rec.Unchoked, s.choked = true, false
	case wire.Interested, wire.NotInterested:
		s.interest(m.ID == wire.Interested)
	case wire.Have:
		add(p, &rec.Haves, m.Piece)
		s.has[m.Piece] = true
	case wire.Bitfield:
		rec.Bitfield = wire.BitfieldWords(rec.Bitfield, m.Payload)
		for i := range s.has {
			s.has[i] = rec.Bitfield[i/64]&(1<<(i%64)) != 0
		}
	case wire.HaveAll, wire.HaveNone:
		rec.HaveAll = m.ID == wire.HaveAll
		for i := range s.has {
			s.has[i] = rec.HaveAll
		}
	case wire.Request:
		add(p, &rec.Requests, event)
		if piece := int(event.Block.Piece); p.askedOf[piece].IsZero() {
			if p.askedOf == nil {
				p.askedOf = map[int]time.Time{}
			}
			p.askedOf[piece] = time.Now()
		}
		return s.request(event.Block)
	case wire.Cancel:
		add(p, &rec.Cancels, event)
		s.cancel(event.Block)
	case wire.Reject:
		add(p, &rec.Rejects, event)
		p.rejected(s, event.Block)
	case wire.Piece:
		add(p, &rec.Blocks, event)
		rec.Downloaded += int64(len(data))
		return p.received(s, event.Block, data)
	case wire.HashRequest:
		add(p, &rec.HashRequests, HashEvent{m.Hash, event.At})
		s.hashRequest(m.Hash)
	case wire.Hashes:
		hashes := make([][32]byte, len(m.Payload)/32)
		for i := range hashes {
			hashes[i] = [32]byte(m.Payload[32*i:])
		}
		add(p, &rec.Hashes, HashAnswer{Ask: m.Hash, Hashes: hashes})
	case wire.HashReject:
		add(p, &rec.HashRejects, HashEvent{m.Hash, event.At})
	case wire.Extended:
		return s.extended(m)
	}
	s.poke()
	return nil
}

func (s *session) extended(m *wire.Message) error {
	rec := &s.peer.rec
	switch m.ExtID {
	case 0:
		h, err := wire.ParseExtHandshake(m.Payload)
		if err != nil {
			return err
		}
		add(s.peer, &rec.ExtHandshakes, h)
	case donthaveID:
		piece, err := wire.ParseDontHave(m.Payload, len(s.has))
		if err != nil {
			return err
		}
		add(s.peer, &rec.DontHave, piece)
		s.has[piece] = false
	}
	return nil
}
