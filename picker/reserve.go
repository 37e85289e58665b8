package picker

import (
	"math"
	"slices"

	"torrentfs/metainfo"
)

// span is pieces [lo, hi).
type span struct{ lo, hi metainfo.Piece }

// spans are sorted and apart.
type spans []span

func (s spans) has(piece metainfo.Piece) bool {
	i, _ := slices.BinarySearchFunc(s, piece, func(x span, piece metainfo.Piece) int { return int(x.hi - piece - 1) })
	return i < len(s) && s[i].lo <= piece
}

// join sorts spans and joins those that touch.
func (s spans) join() spans {
	slices.SortFunc(s, func(a, b span) int { return int(a.lo - b.lo) })
	n := 0
	for _, x := range s {
		if n > 0 && x.lo <= s[n-1].hi {
			s[n-1].hi = max(s[n-1].hi, x.hi)
			continue
		}
		s[n] = x
		n++
	}
	return s[:n]
}

// reserve is the pieces that readers need, now or soon: those of blocked reads and of read-ahead windows.
type reserve struct {
	all    spans
	busy   spans // without the windows of idle readers: what background must not touch
	dirty  bool
	until  float64 // when the next reader becomes idle; +Inf: none will
	vetoed bool    // background was refused a piece of busy, so that a peer may wait for the end of that
}

// reserved reports whether a reader needs a piece, now or soon.
func (rs *readers) reserved(piece metainfo.Piece) bool { return rs.reserve.all.has(piece) }

// updateReserve gathers the reserve anew if it changed, and reports whether it may now grant the background what it refused. A
// reader that has not read for a while, as a player that is paused, keeps its window, but read-ahead gives none of it to a peer that
// it judges to come too late: so the background may take it too.
func (rs *readers) updateReserve(now float64, ps *pieces) (changed bool) {
	res := &rs.reserve
	if !res.dirty && now < res.until {
		return false
	}
	res.dirty, res.until = false, math.Inf(1)
	all, busy := res.all[:0], res.busy[:0]
	for _, r := range rs.blocked {
		all, busy = append(all, span{r.piece, r.last + 1}), append(busy, span{r.piece, r.last + 1})
	}
	for _, rd := range rs.list {
		if rd.end == 0 {
			continue
		}
		window := span{ps.PieceOf(min(rd.pos, ps.Size()-1)), rd.end}
		all = append(all, window)
		idleAt := rd.lastAt + readerLinger
		if rd.hint || rd.blocked > 0 || now < idleAt {
			busy = append(busy, window)
		}
		if !rd.hint && now < idleAt {
			res.until = min(res.until, idleAt)
		}
	}
	res.all, res.busy = all.join(), busy.join()
	return res.vetoed
}
