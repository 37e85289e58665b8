package metainfo

import (
	"strconv"

	"torrentfs/metainfo/bencode"
)

// torrent builds the dictionary of the new torrent.
func (c *creation) torrent(h *hasher) map[string]any {
	d := map[string]any{"info": c.info(h)}
	putString(d, "comment", c.spec.Comment)
	putString(d, "created by", c.spec.CreatedBy)
	if !c.spec.Created.IsZero() {
		d["creation date"] = c.spec.Created.Unix()
	}
	putTrackers(d, c.spec.Trackers)
	if len(c.spec.WebSeeds) > 0 {
		d["url-list"] = c.spec.WebSeeds
	}
	putNodes(d, c.spec.Nodes)
	if c.spec.Version.hasV2() {
		d["piece layers"] = h.layers()
	}
	return d
}

func putString(d map[string]any, key, value string) {
	if value != "" {
		d[key] = value
	}
}

// putTrackers writes announce for the first tracker, and announce-list if there are more (BEP 12).
func putTrackers(d map[string]any, trackers [][]string) {
	var tiers []any
	n := 0
	for _, tier := range trackers {
		if len(tier) == 0 {
			continue
		}
		if n == 0 {
			d["announce"] = tier[0]
		}
		n += len(tier)
		tiers = append(tiers, tier)
	}
	if n > 1 {
		d["announce-list"] = tiers
	}
}

func (c *creation) info(h *hasher) map[string]any {
	d := map[string]any{
		"name":         c.spec.Name,
		"piece length": c.spec.PieceLength,
	}
	putString(d, "source", c.spec.Source)
	if c.spec.Private {
		d["private"] = 1
	}
	if c.spec.Version.hasV1() {
		d["pieces"] = h.sha1
		if c.single {
			d["length"] = c.spec.Files[0].Length
			putAttributes(d, &c.spec.Files[0], nil)
		} else {
			d["files"] = c.v1Files()
		}
	}
	if c.spec.Version.hasV2() {
		d["meta version"] = 2
		d["file tree"] = c.fileTree(h)
	}
	return d
}

// putAttributes writes what BEP 47 has on a file beside its length and path.
func putAttributes(d map[string]any, f *SourceFile, target []string) {
	attr := ""
	if target != nil {
		attr = "l"
		d["symlink path"] = target
	} else if f.Executable {
		attr = "x"
	}
	putString(d, "attr", attr)
	if !f.ModTime.IsZero() {
		d["mtime"] = f.ModTime.Unix()
	}
}

func (c *creation) v1Files() []any {
	list := make([]any, 0, len(c.layout.Files))
	for i, source := range c.sources {
		length := c.layout.Files[i].Length
		if source < 0 {
			list = append(list, map[string]any{
				"attr":   "p",
				"length": length,
				"path":   []string{".pad", strconv.FormatInt(length, 10)},
			})
			continue
		}
		f := &c.spec.Files[source]
		e := map[string]any{"length": length, "path": f.Path}
		putAttributes(e, f, c.targets[source])
		list = append(list, e)
	}
	return list
}

func (c *creation) fileTree(h *hasher) map[string]any {
	tree := map[string]any{}
	for i, source := range c.sources {
		if source < 0 {
			continue
		}
		f := &c.spec.Files[source]
		e := map[string]any{"length": f.Length}
		if f.Length > 0 {
			root := h.root(i)
			e["pieces root"] = root[:]
		}
		putAttributes(e, f, c.targets[source])
		path := f.Path
		if c.single {
			path = []string{c.spec.Name}
		}
		dir := tree
		for _, elem := range path {
			next, ok := dir[elem].(map[string]any)
			if !ok {
				next = map[string]any{}
				dir[elem] = next
			}
			dir = next
		}
		dir[""] = e
	}
	return tree
}

// layers is the value of "piece layers": the piece hashes of each file longer
// than a piece, by its root.
func (h *hasher) layers() bencode.Dict {
	out := bencode.Dict{}
	for i, source := range h.c.sources {
		if source < 0 || h.c.layout.Files[i].Length <= h.c.spec.PieceLength {
			continue
		}
		layer := h.layer(i)
		flat := make([]byte, 0, len(layer)*len(SHA256{}))
		for _, node := range layer {
			flat = append(flat, node[:]...)
		}
		root := h.root(i)
		out[string(root[:])] = flat
	}
	return out
}
