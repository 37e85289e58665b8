package fakepeer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"torrentfs/metainfo"
	"torrentfs/swarm/wire"
)

// Peer is a peer of one torrent, with any number of connections. Its methods are
// safe for concurrent use.
type Peer struct {
	opt  Options // immutable
	done chan struct{}
	wg   sync.WaitGroup // all goroutines

	// Guarded by mu.
	mu          sync.Mutex
	closed      bool
	listeners   []net.Listener
	sessions    []*session
	have        []bool
	answers     int               // requests answered or not
	hashAnswers int               // the same of hash requests
	sentOf      map[int]bool      // pieces of which a block was sent
	askedOf     map[int]time.Time // when a block of a piece was first asked for
	missing     []Block
	left        map[int]int // blocks of wanted pieces that did not come
	complete    chan struct{}
	rec         Record
	changed     chan struct{} // closed at a change of rec
}

// New returns a peer without connections. It panics on options that describe no
// torrent.
func New(opt Options) *Peer {
	opt = opt.withDefaults()
	if opt.PieceLength <= 0 || opt.Size <= 0 || opt.Content == nil {
		panic("fakepeer: Options without a torrent")
	}
	p := &Peer{
		opt: opt, done: make(chan struct{}), complete: make(chan struct{}), changed: make(chan struct{}),
		have: make([]bool, opt.numPieces()), left: map[int]int{},
	}
	p.rec.Messages = map[wire.ID]int{}
	for i := range p.have {
		p.have[i] = opt.Have(i)
	}
	for _, piece := range opt.Want {
		if p.have[piece] || p.left[piece] > 0 {
			continue
		}
		for at, size := int64(0), opt.pieceSize(piece); at < size; at += wire.MaxBlock {
			b := Block{uint32(piece), uint32(at), uint32(min(wire.MaxBlock, size-at))}
			p.missing = append(p.missing, b)
			p.left[piece]++
		}
	}
	if len(p.left) == 0 {
		close(p.complete)
	}
	return p
}

// Serve accepts connections on l in the background, until Close, which closes l.
func (p *Peer) Serve(l net.Listener) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		_ = l.Close()
		return
	}
	p.listeners = append(p.listeners, l)
	p.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				if !errors.Is(err, net.ErrClosed) {
					p.fail(fmt.Errorf("accept: %w", err))
				}
				return
			}
			p.start(c, true)
		}
	})
}

// Dialer connects; *net.Dialer and *simnet.Host are such.
type Dialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// Dial connects to addr and talks in the background, until Close.
func (p *Peer) Dial(ctx context.Context, d Dialer, addr string) error {
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	p.start(c, false)
	return nil
}

func (p *Peer) start(c net.Conn, incoming bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		_ = c.Close()
		return
	}
	s := newSession(p, c, incoming)
	p.sessions = append(p.sessions, s)
	p.rec.Conns++
	p.rec.Open++
	p.note()
	p.wg.Go(func() {
		err := s.run()
		p.opt.Logger.Debug("connection ended", "peer", p.opt.Name, "remote", c.RemoteAddr(), "error", err)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.sessions = slices.DeleteFunc(p.sessions, func(o *session) bool { return o == s })
		p.giveBack(s)
		p.rec.Open--
		if errors.Is(err, wire.ErrProtocol) || errors.Is(err, wire.ErrNotBitTorrent) {
			add(p, &p.rec.Errors, err)
		}
		p.note()
	})
}

// fail records an error.
func (p *Peer) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	add(p, &p.rec.Errors, err)
	p.note()
}

// Complete is closed when all wanted pieces are there.
func (p *Peer) Complete() <-chan struct{} { return p.complete }

// Disconnect closes the connections; new ones may come.
func (p *Peer) Disconnect() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.sessions {
		_ = s.conn.Close()
	}
}

// Announce makes the peer hold a piece from now on, and say so.
func (p *Peer) Announce(piece metainfo.Piece) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hold(piece)
}

// Say sends raw bytes over all connections, between two messages.
func (p *Peer) Say(raw []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.sessions {
		s.send(raw)
	}
}

// Close closes the listeners and connections, and waits for all goroutines.
func (p *Peer) Close() {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		close(p.done)
		for _, l := range p.listeners {
			_ = l.Close()
		}
		for _, s := range p.sessions {
			_ = s.conn.Close()
		}
	}
	p.mu.Unlock()
	p.wg.Wait()
}

// hold adds a piece to what we have. mu is held.
func (p *Peer) hold(piece metainfo.Piece) {
	p.have[piece] = true
	for _, s := range p.sessions {
		if !s.opened { // its bitfield will tell
			continue
		}
		s.send(wire.AppendHave(nil, uint32(piece)))
	}
}
