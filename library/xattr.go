package library

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"torrentfs/fs"
	"torrentfs/internal/safetext"
)

// The names of attributes. A directory's speak of all files below it.
const (
	xattrPrefix       = "user.torrent."
	xattrInfoHash     = xattrPrefix + "info_hash"    // hex
	xattrState        = xattrPrefix + "state"        // see state
	xattrProgress     = xattrPrefix + "progress"     // verified bytes in percent, 100 only if all is here
	xattrVerified     = xattrPrefix + "verified"     // bytes
	xattrSize         = xattrPrefix + "size"         // bytes
	xattrAvailability = xattrPrefix + "availability" // copies that peers and we hold together
	xattrWaiting      = xattrPrefix + "waiting"      // reads that wait, and what the oldest waits for; empty if none does
	xattrPolicy       = xattrPrefix + "on_unavailable"
	xattrPieceLength  = xattrPrefix + "piece_length" // bytes
	xattrPeers        = xattrPrefix + "peers"        // connected; of the root directory alone
	xattrTrackers     = xattrPrefix + "trackers"     // how many answer, and what is wrong with them; of the root directory alone
)

var (
	_ fs.XattrSource = (*tree)(nil)
	_ fs.XattrSetter = (*tree)(nil)
)

// ListXattr names what user.torrent shows.
func (tr *tree) ListXattr(o fs.Object) []string {
	names := []string{
		xattrInfoHash, xattrState, xattrProgress, xattrVerified, xattrSize, xattrAvailability, xattrWaiting,
		xattrPolicy, xattrPieceLength,
	}
	if o.Root {
		names = append(names, xattrPeers, xattrTrackers)
	}
	return names
}

// GetXattr looks an attribute up. Those of a directory cost a look at each piece below it, and nothing is kept.
func (tr *tree) GetXattr(o fs.Object, name string) ([]byte, bool) {
	t := tr.t
	switch name {
	case xattrInfoHash:
		return []byte(t.info.Hash.String()), true
	case xattrPieceLength:
		return strconv.AppendInt(nil, t.info.PieceLength(), 10), true
	case xattrPolicy:
		return []byte(tr.policyOf(o).String()), true
	case xattrTrackers:
		if !o.Root {
			return nil, false
		}
		return []byte(t.trackersText()), true
	case xattrPeers:
		if !o.Root {
			return nil, false
		}
		return strconv.AppendInt(nil, int64(t.swarm.Stats().Peers), 10), true
	case xattrWaiting:
		count, oldest := t.swarm.BlockedReads(tr.within(o))
		if count == 0 {
			return []byte{}, true
		}
		return []byte(safetext.Escape(fmt.Sprintf("%d for %s: %s", count, time.Since(oldest.Since).Truncate(time.Millisecond),
			t.reason(oldest.Reach)))), true
	}
	have := tr.count(o)
	switch name {
	case xattrState:
		return []byte(tr.state(o, have)), true
	case xattrProgress:
		return []byte(have.percent()), true
	case xattrVerified:
		return strconv.AppendInt(nil, have.verified, 10), true
	case xattrSize:
		return strconv.AppendInt(nil, have.size, 10), true
	case xattrAvailability:
		return strconv.AppendFloat(nil, tr.availability(o), 'f', 2, 64), true
	}
	return nil, false
}

// holding is how much of some files is here.
type holding struct{ size, verified int64 }

func (h holding) percent() string {
	if h.verified >= h.size {
		return "100"
	}
	return strconv.FormatFloat(min(99.9, float64(h.verified)/float64(h.size)*100), 'f', 1, 64)
}

// count adds up the verified bytes of all files of an object.
func (tr *tree) count(o fs.Object) (h holding) {
	for e := range o.Below {
		size, verified := tr.t.holding(tr.files[e])
		h.size += size
		h.verified += verified
	}
	return h
}

// holding counts the bytes of one file that lie in verified pieces.
func (t *Torrent) holding(file int) (size, verified int64) {
	f := &t.info.Files[file]
	if f.Length == 0 || f.Symlink != "" {
		return 0, 0
	}
	end := f.Offset + f.Length
	first, last := t.info.PieceOf(f.Offset), t.info.PieceOf(end-1)
	for p := first; p <= last; p++ {
		if !t.store.Has(p) {
			continue
		}
		from := int64(p) * t.info.PieceLength()
		verified += min(from+t.info.PieceSize(p), end) - max(from, f.Offset)
	}
	return f.Length, verified
}

// state is one word: complete, checking (data on disk is being hashed), waiting (a program waits for bytes of it),
// downloading (some peer sends), stalled (nobody does) or partial (nobody asks).
func (tr *tree) state(o fs.Object, have holding) string {
	t := tr.t
	if have.verified >= have.size {
		return "complete"
	}
	s := t.swarm.Stats()
	waiting, _ := t.swarm.BlockedReads(tr.within(o))
	switch {
	case s.Doubtful > 0:
		return "checking"
	case waiting > 0:
		return "waiting"
	case !t.prefetch:
		return "partial"
	case s.DownRate > 0:
		return "downloading"
	}
	return "stalled"
}

// availability is that of the pieces from the object's first to its last.
func (tr *tree) availability(o fs.Object) float64 {
	t := tr.t
	first, last := t.info.NumPieces(), -1
	for e := range o.Below {
		f := &t.info.Files[tr.files[e]]
		if f.Length > 0 && f.Symlink == "" {
			first = min(first, t.info.PieceOf(f.Offset))
			last = max(last, t.info.PieceOf(f.Offset+f.Length-1))
		}
	}
	return t.swarm.Availability(first, last)
}

// within reports of a reader's label whether its file belongs to an object.
func (tr *tree) within(o fs.Object) func(label any) bool {
	if o.Root {
		return func(any) bool { return true }
	}
	files := map[int]bool{}
	for e := range o.Below {
		files[tr.files[e]] = true
	}
	return func(label any) bool { return files[label.(*file).index] }
}

// policy is what becomes of reads of a file that do not get their bytes.
func (tr *tree) policy(file int) OnUnavailable {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if p, ok := tr.policies[file]; ok {
		return p
	}
	return tr.unavailable
}

// policyOf is the policy of an object; if files below a directory have several, one of these.
func (tr *tree) policyOf(o fs.Object) OnUnavailable {
	for e := range o.Below {
		if !o.Root {
			return tr.policy(tr.files[e])
		}
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.unavailable
}

var errFixedXattr = errors.New("attribute tells what is and cannot be set")

// SetXattr sets the policy for data that is not available: of a file, of all files below a directory, or of the whole
// torrent, where it overrides all that was set before.
func (tr *tree) SetXattr(o fs.Object, name string, value []byte) error {
	if name != xattrPolicy {
		return errFixedXattr
	}
	policy := tr.original
	if value != nil {
		var err error
		if policy, err = ParseOnUnavailable(string(value)); err != nil {
			return fmt.Errorf("%w: %w", fs.ErrXattrValue, err)
		}
		if policy.Timeout == 0 {
			policy.Timeout = tr.original.Timeout
		}
	}
	entries := slices.Collect(o.Below) // the tree's walk must not run under the lock
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if o.Root {
		tr.unavailable = policy
		clear(tr.policies)
		return nil
	}
	for _, e := range entries {
		if value == nil {
			delete(tr.policies, tr.files[e])
		} else {
			tr.policies[tr.files[e]] = policy
		}
	}
	return nil
}
