package webseed

import (
	"context"
	"net/http"
	"slices"

	"torrentfs/metainfo"
)

// request is a block that the engine wants.
type request struct{ piece, begin, length int }

// run is a sequence of requests that follow each other in the piece space, to
// be fetched as one.
type run struct {
	off    int64 // in the piece space
	blocks []request
	cancel context.CancelFunc // gives it up
	client *http.Client       // of the worker that fetches it

	// guarded by Seed.mu
	next     int    // blocks before it are answered
	taken    []bool // taken back by Cancel
	before   int64  // bytes that the seed had received when it began
	received int64  // bytes of it
}

// Request asks for a block. The answer comes through the handler: the block,
// or a rejection. Asking again for what is asked for already has no effect.
// Request does not block.
func (s *Seed) Request(piece, begin, length int) {
	r := request{piece, begin, length}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended || s.queued[r] || s.fetching(r) != nil:
	case s.choked || len(s.queue) >= maxQueue || !s.valid(r):
		s.refuse(r)
	default:
		s.queue = append(s.queue, r)
		s.queued[r] = true
		s.signal()
	}
}

// Cancel takes a request back. It still gets its answer, most often a
// rejection. A range of which nothing is wanted any more is given up.
func (s *Seed) Cancel(piece, begin, length int) {
	r := request{piece, begin, length}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.queued[r] {
		delete(s.queued, r)
		s.queue = slices.DeleteFunc(s.queue, func(o request) bool { return o == r })
		s.refuse(r)
		return
	}
	f := s.fetching(r)
	if f == nil {
		return
	}
	f.taken[slices.Index(f.blocks, r)] = true
	if !slices.Contains(f.taken[f.next:], false) {
		f.cancel()
	}
}

// valid reports whether a request is for a part of a block that exists.
func (s *Seed) valid(r request) bool {
	g := &s.cfg.Info.Geometry
	return r.piece >= 0 && r.piece < g.NumPieces() && r.begin >= 0 && r.length > 0 &&
		r.length <= metainfo.BlockSize && int64(r.begin)+int64(r.length) <= g.PieceSize(r.piece)
}

func (s *Seed) offset(r request) int64 {
	return int64(r.piece)*s.cfg.Info.PieceLength() + int64(r.begin)
}

// fetching is the run that a request is part of and not yet answered in.
func (s *Seed) fetching(r request) *run {
	for f := range s.runs {
		if i := slices.Index(f.blocks, r); i >= f.next {
			return f
		}
	}
	return nil
}

// refuse makes Run reject a request. The caller holds mu.
func (s *Seed) refuse(r request) {
	s.refused = append(s.refused, r)
	select {
	case s.refusals <- struct{}{}:
	default: // is known
	}
}

// signal wakes a worker. The caller holds mu.
func (s *Seed) signal() {
	select {
	case s.work <- struct{}{}:
	default: // enough of them are awake
	}
}

// take returns the next run, nil when ctx ended.
func (s *Seed) take(ctx context.Context) (*run, context.Context) {
	for {
		select {
		case <-ctx.Done():
			return nil, nil
		case <-s.work:
		}
		s.mu.Lock()
		if len(s.queue) == 0 || s.choked {
			s.mu.Unlock()
			continue
		}
		f := s.cut()
		ctx, f.cancel = context.WithCancel(ctx)
		s.runs[f] = true
		if len(s.queue) > 0 {
			s.signal()
		}
		s.mu.Unlock()
		return f, ctx
	}
}

// cut takes the first request and those that follow it in the piece space from
// the queue: as many as leave the other connections their part.
func (s *Seed) cut() *run {
	total := int64(0)
	for _, r := range s.queue {
		total += int64(r.length)
	}
	limit := min(max(total/int64(s.cfg.conns-s.parked), minRun), maxRun)
	at := make(map[int64]request, len(s.queue))
	for _, r := range s.queue {
		at[s.offset(r)] = r
	}
	first := s.queue[0]
	f := &run{off: s.offset(first), before: s.stats.total}
	for r, ok, end := first, true, f.off; ok && end-f.off < limit; r, ok = at[end] {
		if s.cfg.Pieces && r.piece != first.piece {
			break
		}
		f.blocks = append(f.blocks, r)
		delete(s.queued, r)
		end += int64(r.length)
	}
	f.taken = make([]bool, len(f.blocks))
	s.queue = slices.DeleteFunc(s.queue, func(r request) bool { return !s.queued[r] })
	return f
}

// deliver answers the next block of a run.
func (s *Seed) deliver(f *run, data []byte) {
	s.mu.Lock()
	r, taken := f.blocks[f.next], f.taken[f.next]
	f.next++
	f.received += int64(len(data))
	s.stats.received(len(data))
	s.mu.Unlock()
	if taken {
		s.cfg.Handler.Reject(r.piece, r.begin, r.length)
		return
	}
	s.cfg.Handler.Block(r.piece, r.begin, data)
}

// requeue puts what is left of a run before what is queued; what was taken back is
// refused. The caller holds mu.
func (s *Seed) requeue(f *run) {
	var again []request
	for i, r := range f.blocks[f.next:] {
		if f.taken[f.next+i] {
			s.refuse(r)
			continue
		}
		again = append(again, r)
		s.queued[r] = true
	}
	f.next = len(f.blocks)
	delete(s.runs, f)
	s.queue = append(again, s.queue...)
}

// finish rejects what is left of a run.
func (s *Seed) finish(f *run) {
	f.cancel()
	s.mu.Lock()
	left := f.blocks[f.next:]
	f.next = len(f.blocks)
	delete(s.runs, f)
	s.mu.Unlock()
	for _, r := range left {
		s.cfg.Handler.Reject(r.piece, r.begin, r.length)
	}
}

// reject answers what was refused, and with all also what is queued.
func (s *Seed) reject(all bool) {
	s.mu.Lock()
	out := s.refused
	s.refused = nil
	if all {
		out = append(out, s.queue...)
		s.queue = nil
		clear(s.queued)
	}
	s.mu.Unlock()
	for _, r := range out {
		s.cfg.Handler.Reject(r.piece, r.begin, r.length)
	}
}
