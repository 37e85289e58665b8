package sim

import (
	"fmt"
	"io"
	"time"

	"torrentfs/internal/bitset"
	"torrentfs/metainfo"
	"torrentfs/picker"
)

// Read is one read of the client and what became of it.
type Read struct {
	Off, Len int64
	At       time.Duration // asked
	Took     time.Duration
	Bound    time.Duration // what a clairvoyant would have needed; 0 where nothing was missing
	done     func(*Read)
}

// client is what stands around a picker in a program: it does what the picker asks and verifies at once.
type client struct {
	w      *World
	g      metainfo.Geometry
	leaves bool // blocks verify one by one
	p      *picker.Picker
	acts   []picker.Action

	have    bitset.Set // blocks received
	started []bool     // pieces of which something was requested
	left    []int32    // blocks missing of each piece
	held    int        // blocks received, in all
	reads   map[picker.ReadID]*Read
	tickAt  time.Duration
	ticking uint64
	busy    bool // a background download was asked for: pipes are warm

	check bool // invariants, after each 16th step
	steps int
	trace io.Writer // what happened, for a person to read
}

func newClient(w *World, g metainfo.Geometry, cfg picker.Config, seed uint64) *client {
	c := &client{
		w: w, g: g, leaves: cfg.LeafVerified, p: picker.New(cfg, g, seed), reads: map[picker.ReadID]*Read{}, tickAt: picker.Never,
		have: bitset.New(g.NumPieces() * g.BlocksPerPiece()), started: make([]bool, g.NumPieces()), left: make([]int32, g.NumPieces()),
	}
	for i := range c.left {
		c.left[i] = int32(g.BlocksPerPiece())
	}
	return c
}

// number is a block's place in have. All pieces of a simulation are full.
func (c *client) number(b metainfo.Block) int { return int(b.Piece)*c.g.BlocksPerPiece() + b.Index }

func (c *client) has(b metainfo.Block) bool { return c.have.Has(c.number(b)) }

func (c *client) connect(r *remote) {
	c.p.PeerAdd(c.w.now, r.id, picker.PeerInfo{RTT: r.RTT, Reqq: r.Reqq, Fast: !r.Slow})
	if r.Avail >= 1 {
		c.p.HaveAll(c.w.now, r.id)
	} else {
		c.p.Bitfield(c.w.now, r.id, r.have)
	}
	c.act()
}

func (c *client) choke(r *remote, choked bool) {
	c.log("peer %d chokes: %v", r.id, choked)
	c.p.Choke(c.w.now, r.id, choked)
	c.act()
}

func (c *client) rejected(r *remote, b metainfo.Block) {
	c.log("peer %d rejects %s", r.id, c.name(b))
	c.p.Rejected(c.w.now, r.id, b)
	c.act()
}

func (c *client) received(r *remote, b metainfo.Block) {
	c.w.Received += picker.BlockSize
	v := c.p.Received(c.w.now, r.id, b)
	c.log("peer %d sends %s: %v", r.id, c.name(b), v)
	if v != picker.NewBlock {
		c.w.Wasted += picker.BlockSize
		if !c.has(b) {
			panic(fmt.Sprintf("sim: block %v is missing, yet %v", b, v))
		}
	} else {
		if c.has(b) {
			panic(fmt.Sprintf("sim: block %v is held, yet %v", b, v))
		}
		c.have.Set(c.number(b))
		c.held++
		if c.leaves {
			c.p.LeafVerified(c.w.now, b, true)
		}
		if c.left[b.Piece]--; c.left[b.Piece] == 0 {
			c.log("piece %d verified", b.Piece)
			c.p.Verified(c.w.now, b.Piece, true)
		}
	}
	c.act()
}

// download asks for the whole torrent in the background, or for nothing.
func (c *client) download(on bool) {
	c.busy = on
	var want []metainfo.ByteRange
	if on {
		want = []metainfo.ByteRange{{Off: 0, Len: c.g.Size()}}
	}
	c.p.SetWant(c.w.now, want)
	c.act()
}

// read reads; done is called when it is served, at once where nothing is missing.
func (c *client) read(id picker.ReaderID, off, n int64, done func(*Read)) picker.ReadID {
	r := &Read{Off: off, Len: n, At: c.w.now, done: done}
	missing := c.missing(off, n)
	if len(missing) == 0 {
		c.p.ReadHit(c.w.now, id, metainfo.ByteRange{Off: off, Len: n})
		c.act()
		c.w.after(0, func() { done(r) })
		return 0
	}
	r.Bound = c.w.bound(missing)
	rid := c.p.Read(c.w.now, id, metainfo.ByteRange{Off: off, Len: n})
	c.reads[rid] = r
	c.log("reader %d blocks on %d bytes at %d (read %d)", id, n, off, rid)
	c.act()
	return rid
}

func (c *client) cancelRead(id picker.ReadID) {
	if _, ok := c.reads[id]; ok {
		delete(c.reads, id)
		c.log("read %d cancelled", id)
		c.p.ReadCancel(c.w.now, id)
		c.act()
	}
}

// missing lists the blocks that must come before a read is served.
func (c *client) missing(off, n int64) []metainfo.Block {
	bpp := int64(c.g.BlocksPerPiece())
	lo, hi := off/picker.BlockSize, (off+n-1)/picker.BlockSize+1
	if !c.leaves {
		lo, hi = lo/bpp*bpp, (hi+bpp-1)/bpp*bpp
	}
	var out []metainfo.Block
	for b := lo; b < hi; b++ {
		if x := (metainfo.Block{Piece: metainfo.Piece(b / bpp), Index: int(b % bpp)}); !c.has(x) {
			out = append(out, x)
		}
	}
	return out
}

// act does what the picker decided and sets the timer.
func (c *client) act() {
	c.acts = c.p.Drain(c.acts[:0])
	if c.steps++; c.check && c.steps%16 == 0 {
		if err := c.p.CheckInvariants(); err != nil {
			panic(fmt.Sprintf("sim: at %v: %v", c.w.now, err))
		}
	}
	var done []*Read
	for _, a := range c.acts {
		switch a.Kind {
		case picker.Request:
			r, b := c.w.remotes[a.Peer], a.Block
			c.log("  request %s from peer %d", c.name(b), a.Peer)
			c.started[b.Piece] = true
			c.w.after(r.RTT/2, func() { r.onRequest(b) })
		case picker.Cancel:
			r, b := c.w.remotes[a.Peer], a.Block
			c.log("  cancel %s at peer %d", c.name(b), a.Peer)
			c.w.Cancels++
			c.w.after(r.RTT/2, func() {
				if !r.Dead {
					r.onCancel(b)
				}
			})
		case picker.ReadDone:
			if r := c.reads[a.Read]; r != nil {
				delete(c.reads, a.Read)
				r.Took = c.w.now - r.At
				c.log("  read %d done after %v, bound %v", a.Read, r.Took.Round(time.Millisecond), r.Bound.Round(time.Millisecond))
				done = append(done, r)
			}
		}
	}
	c.setTimer()
	for _, r := range done {
		r.done(r)
	}
}

func (c *client) setTimer() {
	at := c.p.NextDeadline()
	if at == c.tickAt && c.tickAt > c.w.now {
		return
	}
	c.tickAt = at
	c.ticking++
	if at == picker.Never {
		return
	}
	turn := c.ticking
	c.w.at(max(at, c.w.now+time.Microsecond), func() {
		if turn == c.ticking {
			c.tick()
		}
	})
}

func (c *client) tick() {
	for _, r := range c.w.remotes {
		b, n := r.progress()
		if n = n &^ (4<<10 - 1); n > 0 && (r.reportedBlock != b || r.reported != n) && !c.has(b) {
			r.reportedBlock, r.reported = b, n
			c.p.Progress(c.w.now, r.id, b, n)
		}
	}
	c.tickAt = picker.Never
	c.p.Tick(c.w.now)
	c.act()
}

func (c *client) name(b metainfo.Block) string {
	return fmt.Sprintf("%d/%d", b.Piece, b.Index)
}

func (c *client) log(format string, args ...any) {
	if c.trace != nil {
		fmt.Fprintf(c.trace, "%9.3f  %s\n", float64(c.w.now)/1e6, fmt.Sprintf(format, args...))
	}
}
