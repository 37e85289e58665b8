package metainfo

import (
	"path"
	"strings"
)

const (
	maxLinkHops   = 40   // links that a kernel follows in one path
	maxLinkTarget = 4095 // bytes of a target (PATH_MAX)
	maxLinkDepth  = 1000 // of the recursion over links to links
)

// linker finds the targets of symbolic links (BEP 47) among the settled names
// of a torrent. Each link is resolved once.
type linker struct {
	names *namer
	files []File
	found map[int32]linkResult
}

type linkResult struct {
	real string // path of the file or directory at the end; "" if there is none
	hops int    // links on the way, this one included
}

// resolveLinks gives each link its relative Symlink, or omits it if its target is not in the
// torrent, is a directory around the link itself, or lies behind a loop.
func resolveLinks(names *namer, files []File) {
	l := linker{names: names, files: files, found: make(map[int32]linkResult)}
	for i := range files {
		if files[i].Link() && !files[i].Pad {
			l.resolve(int32(i), 0)
		}
	}
}

func (l *linker) resolve(i int32, depth int) linkResult {
	if r, ok := l.found[i]; ok {
		return r // also of a link that is being resolved: a loop finds ""
	}
	f := &l.files[i]
	f.Omit = true
	l.found[i] = linkResult{}
	if depth > maxLinkDepth {
		return linkResult{}
	}
	shown, r := l.walk(f.link.target, depth)
	if r.real == "" || r.hops > maxLinkHops || strings.HasPrefix(f.Path, r.real+"/") {
		return linkResult{}
	}
	rel := relative(path.Dir(f.Path), shown)
	if len(rel) > maxLinkTarget {
		return linkResult{}
	}
	f.Symlink, f.Omit = rel, false
	l.found[i] = r
	return r
}

// walk follows a target from the top-level directory. It returns the path as
// the target spells it, in the names of the mount, and where that ends when
// the links on the way are followed.
func (l *linker) walk(target []string, depth int) (shown string, r linkResult) {
	elems, ok := clean(target)
	if !ok || len(elems) > maxPathDepth {
		return "", linkResult{}
	}
	shown = l.names.root
	r = linkResult{real: l.names.root, hops: 1}
	for _, e := range elems {
		p := r.real + "/" + SafeName(e)
		if len(p) > maxLinkTarget || len(shown) > maxLinkTarget {
			return "", linkResult{}
		}
		key := l.names.fold(p)
		if d, ok := l.names.dirs[key]; ok {
			r.real = d
			shown += "/" + path.Base(d)
			continue
		}
		i, ok := l.names.taken[key]
		if !ok {
			return "", linkResult{}
		}
		shown += "/" + path.Base(l.files[i].Path)
		if !l.files[i].Link() {
			r.real = l.files[i].Path
			continue
		}
		next := l.resolve(i, depth+1)
		if next.real == "" {
			return "", linkResult{}
		}
		r.real = next.real
		r.hops += next.hops
	}
	return shown, r
}
