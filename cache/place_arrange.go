package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"torrentfs/cache/vfs"
	"torrentfs/metainfo"
)

// maxAttempts is how many numbers are tried to find a name that is free.
const maxAttempts = 10_000

// arrange gives names of their own to files that cannot have, or must not take,
// the names that they were found under.
func (p *placing) arrange() error {
	p.fit()
	if err := p.look(); err != nil {
		return err
	}
	if p.s.opt.Hashes != nil && !p.chosen {
		if err := p.chooseTop(); err != nil {
			return err
		}
	}
	if a := p.adopted; a.n > 0 {
		p.s.log.Info("files in the data folder have content of the torrent: what is wrong in them is written over",
			"path", a.from, "other_such_files", a.n-1)
	}
	return p.giveWay()
}

// chooseTop gives the torrent another top-level name where that is taken by
// something else, or hidden.
func (p *placing) chooseTop() error {
	top := p.top()
	all := 0
	for i := range p.info.Files {
		if stored(&p.info.Files[i]) {
			all++
		}
	}
	hidden := strings.HasPrefix(top, ".") && !p.started && p.whole < all
	taken := !p.info.Single && !p.started && p.taken(top)
	if !hidden && !taken {
		return nil
	}
	base, n := top, 1
	if hidden {
		base, n = "_"+top, 0
	}
	for ; n < maxAttempts; n++ {
		name := p.topName(base, n)
		if p.there(name) {
			continue
		}
		err := p.s.locks.lockName(name)
		if errors.Is(err, ErrLocked) {
			continue
		}
		if err != nil {
			return err
		}
		why := "name of the torrent is taken by other data, which is left as it is: the torrent's goes beside it"
		if hidden {
			why = "name of the torrent is hidden, such as those of settings: its data goes to a name that can be seen"
		}
		p.s.log.Warn(why, "name", top, "kept_as", name)
		for i := range p.names {
			if !p.info.Files[i].Pad {
				p.names[i] = name + strings.TrimPrefix(p.names[i], top)
			}
		}
		return p.look()
	}
	return fmt.Errorf("name %q: %w, and so are all like it: choose another data folder", top, fs.ErrExist)
}

// taken reports whether the top-level name of a multi-file torrent belongs to
// something else: what is there is no directory, or one with other things and
// nothing of the torrent.
func (p *placing) taken(top string) bool {
	st, err := p.s.fs.Lstat(top)
	if err != nil {
		return false
	}
	if !st.Mode.IsDir() && st.Mode&fs.ModeSymlink == 0 {
		return true
	}
	var count [foreign + 1]int
	for i := range p.info.Files {
		if stored(&p.info.Files[i]) {
			count[p.standing[i]]++
		}
	}
	if count[ours] > 0 {
		return false
	}
	if count[foreign] > 0 || count[blank] > 0 {
		return count[foreign] > 0
	}
	empty, err := p.s.fs.IsEmpty(top)
	return err == nil && !empty
}

// topName is the n-th name like a top-level name.
func (p *placing) topName(base string, n int) string {
	if name := base + "." + strconv.Itoa(n); n > 0 && !p.info.Single && len(name) <= maxElement {
		return name
	}
	if n > 0 {
		return metainfo.NumberedPath(base, n)
	}
	return metainfo.SafeName(base) // it may be too long now
}

const maxElement = 255 // bytes

func (p *placing) there(name string) bool {
	_, err := p.s.fs.Lstat(name)
	return !errors.Is(err, fs.ErrNotExist)
}

// giveWay gives other names to files whose names something else has, and to
// those that are one file on disk with others of the torrent.
func (p *placing) giveWay() error {
	shared := p.shared()
	var moved [2]moves
	var taken map[string]struct{}
	for i := range p.info.Files {
		_, twin := shared[i]
		if f := &p.info.Files[i]; !twin && (p.standing[i] != foreign || f.Length == 0) {
			continue
		}
		if taken == nil {
			taken = p.foldedNames()
		}
		name, err := p.freeName(i, taken)
		if err != nil {
			return err
		}
		m := &moved[0]
		if twin {
			m = &moved[1]
		}
		m.add(p.names[i], name)
		p.names[i], p.standing[i], p.ids[i] = name, vacant, vfs.FileID{}
	}
	moved[0].tell(p, "file of this name is not the torrent's, and is left as it is: the torrent's goes beside it")
	moved[1].tell(p, "two files of the torrent are one file on disk: one of them gets a file of its own")
	return nil
}

// moves are files that got other names, for one line in the log.
type moves struct {
	n        int
	from, to string // of the first
}

func (m *moves) add(from, to string) {
	if m.n++; m.n == 1 {
		m.from, m.to = from, to
	}
}

func (m *moves) tell(p *placing, why string) {
	if m.n > 0 {
		p.s.log.Warn(why, "path", m.from, "kept_as", m.to, "other_such_files", m.n-1)
	}
}

// shared returns the files that are one on disk with another that is more the
// torrent's, or comes before them.
func (p *placing) shared() map[int]struct{} {
	var losers map[int]struct{}
	owner := make(map[vfs.FileID]int)
	for i, id := range p.ids {
		if id == (vfs.FileID{}) || p.info.Files[i].Length == 0 {
			continue
		}
		first, known := owner[id]
		if !known {
			owner[id] = i
			continue
		}
		loser := i
		if p.standing[i] == ours && p.standing[first] != ours {
			owner[id], loser = i, first
		}
		if losers == nil {
			losers = make(map[int]struct{})
		}
		losers[loser] = struct{}{}
	}
	return losers
}

// foldedNames are the names of all files and their directories, as a file
// system that does not tell case apart has them.
func (p *placing) foldedNames() map[string]struct{} {
	taken := make(map[string]struct{}, len(p.names))
	for i, name := range p.names {
		for !p.info.Files[i].Pad && name != "." {
			key := metainfo.FoldName(name)
			if _, known := taken[key]; known {
				break
			}
			taken[key] = struct{}{}
			name = path.Dir(name)
		}
	}
	return taken
}

// freeName finds a name like that of a file that nothing has, here or on disk.
func (p *placing) freeName(i int, taken map[string]struct{}) (string, error) {
	base := metainfo.FoldName(p.names[i])
	if p.tried == nil {
		p.tried = make(map[string]int)
	}
	for range maxAttempts {
		p.tried[base]++ // those before were taken for another
		name := metainfo.NumberedPath(p.names[i], p.tried[base])
		key := metainfo.FoldName(name)
		if _, known := taken[key]; known || p.there(name) {
			continue
		}
		taken[key] = struct{}{}
		return name, nil
	}
	return "", fmt.Errorf("name %q: %w, and so are all like it: choose another data folder", p.names[i], fs.ErrExist)
}
