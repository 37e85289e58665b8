package cache

import (
	"bytes"
	"os"
	"path"
	"slices"
	"strings"

	"torrentfs/cache/resume"
	"torrentfs/metainfo"
)

// fit gives other names to files whose names the file system does not take, or
// does not tell apart.
func (p *placing) fit() {
	var moved moves
	if rule := p.rule(); rule != (nameRule{}) {
		taken := p.foldedNames()
		for i, name := range p.names {
			fitting := rule.fit(name)
			if p.info.Files[i].Pad || fitting == name || p.there(name) {
				continue
			}
			p.names[i] = fitting
			key := metainfo.FoldName(fitting)
			if _, known := taken[key]; known {
				if free, err := p.freeName(i, taken); err == nil {
					p.names[i] = free
				}
			}
			taken[key] = struct{}{}
			moved.add(name, p.names[i])
		}
	}
	moved.tell(p, "file system of the data folder does not take names of the torrent: files get others")
	clashes := p.clashes()
	if len(clashes) == 0 {
		return
	}
	var folded moves
	taken := p.foldedNames()
	folds := make(map[string]bool)
	for _, i := range clashes {
		if !p.foldsAt(path.Dir(p.names[i]), folds) {
			continue
		}
		if name, err := p.freeName(i, taken); err == nil {
			folded.add(p.names[i], name)
			p.names[i] = name
		}
	}
	folded.tell(p, "file system of the data folder takes names of the torrent for one: files get others")
}

// clashes lists the files whose name differs from another's, or from that of a
// directory, by case or normalisation alone. The first of them keeps its name.
func (p *placing) clashes() (clashes []int) {
	dirs := make(map[string]struct{})
	known := make(map[string]struct{}) // unfolded, to fold each once
	for i, name := range p.names {
		for d := path.Dir(name); !p.info.Files[i].Pad && d != "."; d = path.Dir(d) {
			if _, ok := known[d]; ok {
				break
			}
			known[d] = struct{}{}
			dirs[metainfo.FoldName(d)] = struct{}{}
		}
	}
	files := make(map[string]struct{}, len(p.names))
	for i, name := range p.names {
		if p.info.Files[i].Pad {
			continue
		}
		key := metainfo.FoldName(name)
		_, file := files[key]
		_, dir := dirs[key]
		if file || dir {
			clashes = append(clashes, i)
		}
		files[key] = struct{}{}
	}
	return clashes
}

// foldsAt reports whether the file system takes two names for one in a
// directory, or will when that is made. Some do so by directory.
func (p *placing) foldsAt(dir string, known map[string]bool) bool {
	for dir != "." && !p.there(dir) {
		dir = path.Dir(dir)
	}
	if _, ok := known[dir]; !ok {
		at := dir
		if at == "." {
			at = resume.StateDir
		}
		known[dir] = p.sameName(at+"/.torrentfs-probe", at+"/.TORRENTFS-PROBE") || p.sameName(at+"/.torrentfs-\u00e9", at+"/.torrentfs-e\u0301")
	}
	return known[dir]
}

// sameName makes a file and reports whether another name leads to it as well.
func (p *placing) sameName(name, other string) bool {
	f, err := p.s.fs.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return false
	}
	_ = f.Close()
	defer p.s.fs.Remove(name) //nolint:errcheck // it is empty
	return p.there(other)
}

// badChars are those that FAT, exFAT and NTFS do not take in a name.
const badChars = `"*:<>?|\`

// devices are names that Windows takes for something else, with any extension.
var devices = []string{
	"con", "prn", "aux", "nul", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8", "com9",
	"lpt1", "lpt2", "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9",
}

// nameRule is what a file system takes as a name.
type nameRule struct {
	windows bool // not all characters, and no dot or space at the end
	most    int  // bytes; 0: as many as a safe name may have
}

// rule asks the file system, if that may matter to the torrent's names.
func (p *placing) rule() (r nameRule) {
	odd, longest := false, 0
	for i, name := range p.names {
		if p.info.Files[i].Pad {
			continue
		}
		odd = odd || nameRule{windows: true}.fit(name) != name
		for elem := range strings.SplitSeq(name, "/") {
			longest = max(longest, len(elem))
		}
	}
	if sp, err := p.s.fs.Space(); err == nil && sp.NameMax > leastNameMax && sp.NameMax < longest {
		r.most = sp.NameMax
	}
	r.windows = odd && p.restricts()
	return r
}

const (
	leastNameMax  = 72 // less than any file system of use has
	roomForNumber = 8  // bytes that a cut name leaves for a number
)

// restricts reports whether the file system is such a one.
func (p *placing) restricts() bool {
	const name = resume.StateDir + "/probe?"
	f, err := p.s.fs.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		_ = f.Close()
		_ = p.s.fs.Remove(name)
	}
	return err != nil || p.sameName(resume.StateDir+"/probe.", resume.StateDir+"/probe")
}

// fit is a path that the file system takes.
func (r nameRule) fit(name string) string {
	elems := strings.Split(name, "/")
	changed := false
	for i, e := range elems {
		b := []byte(e)
		for k, c := range b {
			if r.windows && (c < ' ' || strings.IndexByte(badChars, c) >= 0) {
				b[k] = '_'
			}
		}
		for k := len(b) - 1; r.windows && k >= 0 && (b[k] == '.' || b[k] == ' '); k-- {
			b[k] = '_'
		}
		if stem, _, _ := bytes.Cut(b, []byte(".")); r.windows && slices.Contains(devices, strings.ToLower(string(stem))) {
			b = slices.Insert(b, len(stem), '_')
		}
		if elems[i] = string(b); r.most > 0 && len(b) > r.most {
			elems[i] = metainfo.CutName(elems[i], r.most-roomForNumber)
		}
		changed = changed || elems[i] != e
	}
	if !changed {
		return name
	}
	return strings.Join(elems, "/")
}
