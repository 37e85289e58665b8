package swarm

import (
	"context"
	"math"
	"time"

	"torrentfs/internal/bitset"
	"torrentfs/metainfo"
	"torrentfs/picker"
	"torrentfs/swarm/hashes"
	"torrentfs/swarm/peers"
	"torrentfs/swarm/pieces/smartban"
)

// WebSeed is a web server that has the torrent's content (BEP 17, 19).
// Package webseed has the real one. Request and Cancel do not block.
type WebSeed interface {
	// Run answers requests until ctx ends (nil), or until the server turns out
	// to be useless. It is called once; nothing reaches the handler after it.
	Run(ctx context.Context) error
	// Request asks for a block. While Run runs, each request gets one answer.
	Request(piece, begin, length int)
	// Cancel takes a request back, which is answered all the same.
	Cancel(piece, begin, length int)
	// Host is the server's name, without what a URL may hold of secrets.
	Host() string
}

// WebSeedHandler hears what becomes of requests to a [WebSeed]. Its methods
// may be called from any goroutine that Run waits for, and may block.
type WebSeedHandler interface {
	// Block takes a block that was requested, and the ownership of data.
	Block(piece metainfo.Piece, begin int, data []byte)
	// Reject says that a request is not answered by its block.
	Reject(piece, begin, length int)
	// Choke says that the server is to be left alone for a while, or may be
	// asked again. A seed begins unchoked.
	Choke(choked bool)
	// Lost says that the server does not have the pieces first to last.
	Lost(first, last int)
}

// WebSeedOpener makes the client of one web server. It is called again, in the
// torrent's loop, when a server that was useless is given another chance; it
// does not block. After an error the server is left alone for good.
type WebSeedOpener func(WebSeedHandler) (WebSeed, error)

const (
	maxWebSeeds  = 16                     // of one torrent
	webReqq      = 1024                   // requests that one server is to answer
	webRTT       = 300 * time.Millisecond // assumed until blocks tell: names, TCP and TLS come before the first
	webPause     = 10 * time.Minute       // after which a server that was useless is tried again; doubles with each time
	longestPause = 6 * time.Hour
)

// webPeer is a web server as the picker knows it: a peer that has everything,
// wants nothing, and proves nothing. The loop owns it; its number is also
// the server's identity as a sender.
type webPeer struct {
	open    WebSeedOpener
	number  int           // index in the list
	seed    WebSeed       // nil before it was first needed
	id      picker.PeerID // while live
	stop    context.CancelFunc
	running bool // Run has not returned
	live    bool // the picker knows it
	choked  bool
	banned  bool
	due     time.Duration // not to be run before
	pause   time.Duration
	err     error // why it was useless when last run; nil since it sent a block

	remote   bitset.Set
	faults   smartban.Server
	down     meter
	received int64
}

// webEventKind says what a webEvent is.
type webEventKind uint8

const (
	webBlock webEventKind = iota
	webReject
	webChoke
	webLost
	webGone // Run has returned; nothing follows
)

// webEvent is what a web seed tells the loop.
type webEvent struct {
	web   *webPeer
	kind  webEventKind
	piece metainfo.Piece // of a loss the first
	begin int
	n     int // of a loss the last piece
	data  []byte
	on    bool
	err   error
}

// webHandler brings a web seed's answers to the loop.
type webHandler struct {
	t *Torrent
	w *webPeer
}

func (h webHandler) Block(piece metainfo.Piece, begin int, data []byte) {
	if l := h.t.s.down; l != nil {
		if err := l.WaitN(h.t.ctx, len(data)); err != nil {
			return // the torrent is closed: nobody waits for the block
		}
	}
	h.t.traffic.received.Add(int64(len(data)))
	h.tell(webEvent{kind: webBlock, piece: piece, begin: begin, n: len(data), data: data})
}

func (h webHandler) Reject(piece, begin, length int) {
	h.tell(webEvent{kind: webReject, piece: piece, begin: begin, n: length})
}
func (h webHandler) Choke(choked bool)    { h.tell(webEvent{kind: webChoke, on: choked}) }
func (h webHandler) Lost(first, last int) { h.tell(webEvent{kind: webLost, piece: first, n: last}) }

// tell hands an event to the loop, or drops it if the loop has ended.
func (h webHandler) tell(e webEvent) {
	e.web = h.w
	select {
	case h.t.web.events <- e:
	case <-h.t.done:
	}
}

// webSeeds is the torrent's web seeds. The loop owns it.
type webSeeds struct {
	t      *Torrent
	list   []*webPeer
	runs   int           // of web seeds ever, modulo what an id can hold
	events chan webEvent // to the loop; nil without web seeds
}

// newWebSeeds returns those of a torrent. They are run while something lacks.
func newWebSeeds(t *Torrent) *webSeeds {
	x := &webSeeds{t: t}
	for i, open := range t.cfg.WebSeeds[:min(len(t.cfg.WebSeeds), maxWebSeeds)] {
		x.list = append(x.list, &webPeer{open: open, number: i, pause: webPause})
	}
	if len(x.list) > 0 {
		x.events = make(chan webEvent, 64)
	}
	return x
}

// retry runs the web seeds that are due.
func (x *webSeeds) retry(now time.Duration) {
	if x.t.pieces.allHeld.Load() || x.t.Err() != nil {
		return
	}
	for _, w := range x.list {
		if !w.running && !w.banned && w.due <= now {
			x.run(w, now)
		}
	}
}

func (x *webSeeds) run(w *webPeer, now time.Duration) {
	t := x.t
	h := webHandler{t, w}
	seed, err := w.open(h)
	if err != nil {
		w.banned, w.err = true, err
		t.log.Warn("open web seed: " + err.Error())
		return
	}
	ctx, stop := context.WithCancel(t.ctx)
	w.seed, w.stop, w.running, w.live, w.choked = seed, stop, true, true, false
	w.id = x.newID(w.number)
	w.remote = bitset.New(t.info.NumPieces())
	w.remote.SetRange(0, t.info.NumPieces())
	t.picker.PeerAdd(now, w.id, picker.PeerInfo{RTT: webRTT, Reqq: webReqq, Fast: true, Seed: true})
	for p := range t.info.NumPieces() {
		if w.faults.Lacks(p) {
			x.lacks(w, p, now)
		}
	}
	t.picker.Choke(now, w.id, false)
	t.wg.Go(func() {
		defer stop()
		h.tell(webEvent{kind: webGone, err: seed.Run(ctx)})
	})
}

// newID returns a number for a web seed that is run: slots above those of
// connections are theirs.
func (x *webSeeds) newID(number int) picker.PeerID {
	x.runs = (x.runs + 1) % (math.MaxInt32 / peers.Slots)
	return picker.PeerID(x.runs*peers.Slots + peers.Slots - 1 - number)
}

// at reports whether an id is that of a web seed, and of which; nil if that has ended.
func (x *webSeeds) at(id picker.PeerID) (w *webPeer, ok bool) {
	i := peers.Slots - 1 - peers.Slot(id)
	if i >= len(x.list) {
		return nil, false
	}
	if w = x.list[i]; !w.live || w.id != id {
		return nil, true
	}
	return w, true
}

// ask carries out the picker's action on a web seed. Interest is
// nothing that a server cares for.
func (x *webSeeds) ask(w *webPeer, a picker.Action) {
	t := x.t
	piece, block := a.Block.Piece, a.Block.Index
	switch a.Kind {
	case picker.Request:
		w.seed.Request(piece, block*blockSize, t.info.BlockLen(piece, block))
		t.hashes.requested(hashes.NoPeer, a.Block, a.On)
	case picker.Cancel:
		w.seed.Cancel(piece, block*blockSize, t.info.BlockLen(piece, block))
	}
}

// handleAll handles an event and what else has come meanwhile.
func (x *webSeeds) handleAll(e webEvent) {
	x.handle(e)
	for range eventsPerFlush {
		select {
		case e := <-x.events:
			x.handle(e)
		default:
			return
		}
	}
}

func (x *webSeeds) handle(e webEvent) {
	t := x.t
	w, now := e.web, t.now()
	if e.kind == webGone {
		x.gone(w, e.err)
		return
	}
	if !w.live {
		t.pieces.wasted += int64(len(e.data))
		return
	}
	switch e.kind {
	case webBlock:
		x.take(e)
	case webReject:
		if block, ok := t.info.BlockAt(e.piece, e.begin, e.n); ok {
			t.picker.Rejected(now, w.id, block)
		}
	case webChoke:
		w.choked = e.on
		t.picker.Choke(now, w.id, e.on)
	case webLost:
		for p := max(e.piece, 0); p <= e.n && p < t.info.NumPieces(); p++ {
			x.lacks(w, p, now)
		}
	}
}

// lacks notes that a server does not have a piece.
func (x *webSeeds) lacks(w *webPeer, piece metainfo.Piece, now time.Duration) {
	if w.remote.Clear(piece) {
		x.t.picker.Unhave(now, w.id, piece)
	}
}

// take takes a block that a web seed sent.
func (x *webSeeds) take(e webEvent) {
	t := x.t
	w := e.web
	t.traffic.down.add(int64(e.n))
	w.down.add(int64(e.n))
	w.received += int64(e.n)
	w.err, w.pause = nil, webPause
	id, ok := t.info.BlockAt(e.piece, e.begin, e.n)
	if !ok || t.picker.Received(t.now(), w.id, id) != picker.NewBlock {
		t.pieces.wasted += int64(e.n)
		return
	}
	b := metainfo.Block{Piece: e.piece, Index: e.begin / blockSize}
	t.pieces.take(w.sender(), b, e.data)
	t.hashes.blockCame(hashes.NoPeer, b)
}

// sender is the web seed as one that may send wrong data.
func (w *webPeer) sender() smartban.Sender { return smartban.Sender{Web: w.number + 1} }

// end takes a web seed from the picker and stops it.
func (x *webSeeds) end(w *webPeer) {
	if !w.live {
		return
	}
	w.live = false
	w.stop()
	x.t.picker.PeerGone(x.t.now(), w.id)
}

// endAll stops all: nothing is needed of them, for now.
func (x *webSeeds) endAll() {
	for _, w := range x.list {
		x.end(w)
	}
}

// gone follows the end of a web seed. One that was useless may be
// mended, so it is tried again, ever later.
func (x *webSeeds) gone(w *webPeer, err error) {
	now := x.t.now()
	w.running = false
	x.end(w)
	if err != nil && !w.banned {
		if w.err == nil {
			x.t.log.Warn("web seed is of no use: "+err.Error(), "retry", w.pause)
		}
		w.err, w.due = err, now+w.pause
		w.pause = min(2*w.pause, longestPause)
	}
	x.retry(now)
}

// lied follows wrong data in a piece: the server is not asked for it again,
// nor for the rest of a file that is another one there. One that sends nothing right
// is never run again.
func (x *webSeeds) lied(w *webPeer, piece metainfo.Piece) {
	t := x.t
	if w.banned {
		return
	}
	pieces, files, ban := w.faults.Failed(t.info, piece)
	for _, f := range files {
		t.log.Warn("web seed has another file than the torrent: the file is not asked for there any more", "host", w.seed.Host(), "path", t.info.Files[f].Path)
	}
	if ban {
		w.banned, w.err = true, errBadPeer
		t.log.Warn("ban web seed that sent wrong data", "host", w.seed.Host())
		x.end(w)
		return
	}
	t.log.Debug("web seed sent wrong data", "host", w.seed.Host(), "piece", piece)
	if w.live {
		for _, p := range pieces {
			x.lacks(w, p, t.now())
		}
	}
}

// live is how many web seeds the picker may ask.
func (x *webSeeds) live() (n int) {
	for _, w := range x.list {
		if w.live {
			n++
		}
	}
	return n
}

// busy reports whether answers of web seeds may be under way.
func (x *webSeeds) busy() bool {
	return x.live() > 0 && x.t.picker.Stats().InFlight > 0
}

// due is when the next web seed is to be tried again, if any is.
func (x *webSeeds) due() time.Duration {
	due := never
	for _, w := range x.list {
		if !w.running && !w.banned {
			due = min(due, w.due)
		}
	}
	return due
}
