package swarm

import (
	"context"
	"math"
	"time"

	"torrentfs/internal/bitset"
	"torrentfs/metainfo"
	"torrentfs/picker"
	"torrentfs/swarm/conn"
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
	Block(piece, begin int, data []byte)
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
	number  int           // index in Torrent.webSeeds
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
	piece int // of a loss the first
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

func (h webHandler) Block(piece, begin int, data []byte) {
	if l := h.t.s.down; l != nil {
		if err := l.WaitN(h.t.ctx, len(data)); err != nil {
			return // the torrent is closed: nobody waits for the block
		}
	}
	h.t.received.Add(int64(len(data)))
	h.tell(webEvent{kind: webBlock, piece: piece, begin: begin, n: len(data), data: data})
}

func (h webHandler) Reject(piece, begin, length int) {
	h.tell(webEvent{kind: webReject, piece: piece, begin: begin, n: length})
}
func (h webHandler) Choke(choked bool)    { h.tell(webEvent{kind: webChoke, on: choked}) }
func (h webHandler) Lost(first, last int) { h.tell(webEvent{kind: webLost, piece: first, n: last}) }

// tell hands an event to the loop, or drops it where the loop has ended.
func (h webHandler) tell(e webEvent) {
	e.web = h.w
	select {
	case h.t.fromWeb <- e:
	case <-h.t.done:
	}
}

// knowWebSeeds notes the torrent's web seeds. They are run while something lacks.
func (t *Torrent) knowWebSeeds() {
	for i, open := range t.cfg.WebSeeds[:min(len(t.cfg.WebSeeds), maxWebSeeds)] {
		t.webSeeds = append(t.webSeeds, &webPeer{open: open, number: i, pause: webPause})
	}
	if len(t.webSeeds) > 0 {
		t.fromWeb = make(chan webEvent, 64)
	}
}

// tendWebSeeds runs the web seeds that are due.
func (t *Torrent) tendWebSeeds(now time.Duration) {
	if t.pieces.allHeld.Load() || t.Err() != nil {
		return
	}
	for _, w := range t.webSeeds {
		if !w.running && !w.banned && w.due <= now {
			t.runWebSeed(w, now)
		}
	}
}

func (t *Torrent) runWebSeed(w *webPeer, now time.Duration) {
	h := webHandler{t, w}
	seed, err := w.open(h)
	if err != nil {
		w.banned, w.err = true, err
		t.log.Warn("open web seed: " + err.Error())
		return
	}
	ctx, stop := context.WithCancel(t.ctx)
	w.seed, w.stop, w.running, w.live, w.choked = seed, stop, true, true, false
	w.id = t.webPeerID(w.number)
	w.remote = bitset.New(t.info.NumPieces())
	w.remote.SetRange(0, t.info.NumPieces())
	t.picker.PeerAdd(now, w.id, picker.PeerInfo{RTT: webRTT, Reqq: webReqq, Fast: true, Seed: true})
	for p := range t.info.NumPieces() {
		if w.faults.Lacks(p) {
			t.webSeedLacks(w, p, now)
		}
	}
	t.picker.Choke(now, w.id, false)
	t.wg.Go(func() {
		defer stop()
		h.tell(webEvent{kind: webGone, err: seed.Run(ctx)})
	})
}

// webPeerID returns a number for a web seed that is run: slots above those of
// connections are theirs.
func (t *Torrent) webPeerID(number int) picker.PeerID {
	t.webRuns = (t.webRuns + 1) % (math.MaxInt32 / peers.Slots)
	return picker.PeerID(t.webRuns*peers.Slots + peers.Slots - 1 - number)
}

// isWebSeed says whether a number is that of a web seed, and of which; nil
// where that has ended.
func (t *Torrent) isWebSeed(id picker.PeerID) (w *webPeer, ok bool) {
	i := peers.Slots - 1 - peers.Slot(id)
	if i >= len(t.webSeeds) {
		return nil, false
	}
	if w = t.webSeeds[i]; !w.live || w.id != id {
		return nil, true
	}
	return w, true
}

// askWebSeed carries out the picker's action on a web seed. Interest is
// nothing that a server cares for.
func (t *Torrent) askWebSeed(w *webPeer, a picker.Action) {
	piece, block := a.Block.Piece, a.Block.Index
	switch a.Kind {
	case picker.Request:
		w.seed.Request(piece, block*blockSize, t.info.BlockLen(piece, block))
		t.hashes.requested(hashes.NoPeer, a.Block, a.On)
	case picker.Cancel:
		w.seed.Cancel(piece, block*blockSize, t.info.BlockLen(piece, block))
	}
}

// handleWebEvents handles an event and what else has come meanwhile.
func (t *Torrent) handleWebEvents(e webEvent) {
	t.handleWebEvent(e)
	for range eventsPerFlush {
		select {
		case e := <-t.fromWeb:
			t.handleWebEvent(e)
		default:
			return
		}
	}
}

func (t *Torrent) handleWebEvent(e webEvent) {
	w, now := e.web, t.now()
	if e.kind == webGone {
		t.webSeedGone(w, e.err)
		return
	}
	if !w.live {
		t.pieces.wasted += int64(len(e.data))
		return
	}
	switch e.kind {
	case webBlock:
		t.handleWebBlock(e)
	case webReject:
		if block, ok := t.blockOf(conn.Request{Piece: e.piece, Begin: e.begin, Length: e.n}); ok {
			t.picker.Rejected(now, w.id, block)
		}
	case webChoke:
		w.choked = e.on
		t.picker.Choke(now, w.id, e.on)
	case webLost:
		for p := max(e.piece, 0); p <= e.n && p < t.info.NumPieces(); p++ {
			t.webSeedLacks(w, p, now)
		}
	}
}

// webSeedLacks notes that a server does not have a piece.
func (t *Torrent) webSeedLacks(w *webPeer, piece int, now time.Duration) {
	if w.remote.Clear(piece) {
		t.picker.Unhave(now, w.id, piece)
	}
}

// handleWebBlock takes a block that a web seed sent.
func (t *Torrent) handleWebBlock(e webEvent) {
	w := e.web
	t.down.add(int64(e.n))
	w.down.add(int64(e.n))
	w.received += int64(e.n)
	w.err, w.pause = nil, webPause
	id, ok := t.blockOf(conn.Request{Piece: e.piece, Begin: e.begin, Length: e.n})
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

// endWebSeed takes a web seed from the picker and stops it.
func (t *Torrent) endWebSeed(w *webPeer) {
	if !w.live {
		return
	}
	w.live = false
	w.stop()
	t.picker.PeerGone(t.now(), w.id)
}

// endWebSeeds stops all: nothing is needed of them, for now.
func (t *Torrent) endWebSeeds() {
	for _, w := range t.webSeeds {
		t.endWebSeed(w)
	}
}

// webSeedGone follows the end of a web seed. One that was useless may be
// mended, so it is tried again, ever later.
func (t *Torrent) webSeedGone(w *webPeer, err error) {
	now := t.now()
	w.running = false
	t.endWebSeed(w)
	if err != nil && !w.banned {
		if w.err == nil {
			t.log.Warn("web seed is of no use: "+err.Error(), "retry", w.pause)
		}
		w.err, w.due = err, now+w.pause
		w.pause = min(2*w.pause, longestPause)
	}
	t.tendWebSeeds(now)
}

// webSeedLied follows wrong data in a piece: the server is not asked for it again,
// nor for the rest of a file that is another one there. One that sends nothing right
// is never run again.
func (t *Torrent) webSeedLied(w *webPeer, piece int) {
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
		t.endWebSeed(w)
		return
	}
	t.log.Debug("web seed sent wrong data", "host", w.seed.Host(), "piece", piece)
	if w.live {
		for _, p := range pieces {
			t.webSeedLacks(w, p, t.now())
		}
	}
}

// webSeedsLive is how many web seeds the picker may ask.
func (t *Torrent) webSeedsLive() (n int) {
	for _, w := range t.webSeeds {
		if w.live {
			n++
		}
	}
	return n
}

// webSeedsBusy says whether answers of web seeds may be under way.
func (t *Torrent) webSeedsBusy() bool {
	return t.webSeedsLive() > 0 && t.picker.Stats().InFlight > 0
}

// webSeedDue is when the next web seed is to be tried again, if any is.
func (t *Torrent) webSeedDue() time.Duration {
	due := never
	for _, w := range t.webSeeds {
		if !w.running && !w.banned {
			due = min(due, w.due)
		}
	}
	return due
}

// WebSeedStats is a snapshot of one web seed.
type WebSeedStats struct {
	Host     string // empty while it was never needed
	Active   bool   // it may be asked, now or when it ceases to choke
	Choked   bool   // it wants to be left alone for a while
	Banned   bool
	Rate     float64 // bytes per second
	Received int64   // bytes since start
	Err      error   // why it is not used; nil where that is not its fault
}

// WebSeeds takes a snapshot of the web seeds.
func (t *Torrent) WebSeeds() (all []WebSeedStats) {
	t.call(func() {
		for _, w := range t.webSeeds {
			s := WebSeedStats{
				Active: w.live, Choked: w.live && w.choked, Banned: w.banned,
				Rate: w.down.rate, Received: w.received, Err: w.err,
			}
			if w.seed != nil {
				s.Host = w.seed.Host()
			}
			all = append(all, s)
		}
	})
	return all
}
