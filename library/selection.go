package library

import (
	"context"
	"iter"

	"torrentfs/metainfo"
	"torrentfs/swarm"
)

// openSources gives the torrent its sources of peers: those of the search for its
// metadata, which it returns, if there was one.
func (t *Torrent) openSources(mi *metainfo.MetaInfo, o AddOptions) (found *swarm.Metadata) {
	if s := t.l.takeSearch(mi.Info.Hash); s != nil {
		t.sources, found = s.sources, s.found
	}
	if found != nil && !mi.Info.Private { // else what is not a tracker's must not go on
		return found
	}
	if d := t.l.discover.dht; d != nil && !mi.Info.Private {
		for _, n := range mi.Nodes {
			d.AddHost(n)
		}
	}
	t.sources = t.l.newSources(mi.Info.Hash, mi.Info.Name, mi.Trackers, mi.Info.Private, o.NoTrackers)
	return found
}

// selectedRanges are the selected files in the piece space; nil for all.
func selectedRanges(info *metainfo.Info, sel []metainfo.IndexRange) []metainfo.ByteRange {
	if len(sel) == 0 {
		return nil
	}
	ranges := []metainfo.ByteRange{}
	for i := range selectedFiles(info, sel) {
		if f := &info.Files[i]; f.Length > 0 {
			ranges = append(ranges, metainfo.ByteRange{Off: f.Offset, Len: f.Length})
		}
	}
	return ranges
}

// selectedFiles yields the indices of the selected files. Ranges may reach
// beyond the torrent and overlap.
func selectedFiles(info *metainfo.Info, sel []metainfo.IndexRange) iter.Seq[int] {
	m := metainfo.Magnet{Select: sel}
	return func(yield func(int) bool) {
		for i := range info.Files {
			if m.Selected(i) && !info.Files[i].Pad && !yield(i) {
				return
			}
		}
	}
}

// Selected is closed once the files of [AddOptions.Select] are verified and on
// disk; if none are selected, it is Complete.
func (t *Torrent) Selected() <-chan struct{} { return t.selected }

// fileComplete is called by the store for each file that is verified and written.
func (t *Torrent) fileComplete(index int) {
	t.tree.fileComplete(index)
	select {
	case t.fileDone <- struct{}{}:
	default:
	}
}

// awaitSelected closes t.selected.
func (t *Torrent) awaitSelected(ctx context.Context, sel []metainfo.IndexRange) {
	settled := t.swarm.Settled()
	for len(sel) == 0 || !t.holds(sel) {
		select {
		case <-t.fileDone:
		case <-settled:
			settled = nil
		case <-t.complete:
			close(t.selected)
			return
		case <-ctx.Done():
			return
		}
	}
	if t.awaitDurable(ctx, selectedRanges(t.info, sel)) {
		close(t.selected)
	}
}

// holds reports whether every piece of the selected files is verified.
func (t *Torrent) holds(sel []metainfo.IndexRange) bool {
	for _, r := range selectedRanges(t.info, sel) {
		for p := t.info.PieceOf(r.Off); p <= t.info.PieceOf(r.Off+r.Len-1); p++ {
			if !t.store.Has(p) {
				return false
			}
		}
	}
	return true
}
