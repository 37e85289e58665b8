package metainfo

import (
	"crypto/sha1"
	"crypto/sha256"
	"fmt"
	"math"
	"slices"

	"torrentfs/metainfo/bencode"
)

// infoParser collects what one info dictionary says. Its fields are the
// dictionary's own, before the v1 and the v2 half have been compared.
type infoParser struct {
	lim    Limits
	fields bencode.Dict
	raw    map[string][]byte
	info   *Info
	name   string // as the torrent spells it
	names  *namer
}

// parseInfo parses a scanned info dictionary.
func parseInfo(data []byte, lim Limits) (*Info, error) {
	fields, raw, err := split(data, []string{"files", "file tree", "pieces"}, []string{
		"name", "name.utf-8", "piece length", "length", "meta version", "private", "source",
		"attr", "symlink path", "mtime",
	})
	if err != nil {
		return nil, fmt.Errorf("info: %w", err)
	}
	p := &infoParser{lim: lim, fields: fields, raw: raw, info: &Info{Bytes: data}}
	if err := p.parse(); err != nil {
		return nil, fmt.Errorf("info: %w", err)
	}
	return p.info, nil
}

func (p *infoParser) parse() error {
	if err := p.identity(); err != nil {
		return err
	}
	if err := p.header(); err != nil {
		return err
	}
	if err := p.fileList(); err != nil {
		return err
	}
	if err := p.layout(); err != nil {
		return err
	}
	p.finish()
	if p.info.total == 0 {
		return ErrEmpty
	}
	return nil
}

// identity finds which versions the torrent has, and its hashes. BEP 52 wants
// the meta version checked before all else.
func (p *infoParser) identity() error {
	h := &p.info.Hash
	if p.fields.Has("meta version") {
		v, err := p.fields.Int("meta version")
		if err != nil {
			return err
		}
		if v != 2 {
			return fmt.Errorf("%w: %d", ErrVersion, v)
		}
		h.HasV2 = true
		h.V2 = sha256.Sum256(p.info.Bytes)
		// A v2 dictionary out of order would have another hash after it is encoded again; BEP 52
		// lets us refuse it.
		if err := bencode.ScanAll(p.info.Bytes, bencode.Limits{Items: p.lim.items, Sorted: true}); err != nil {
			return err
		}
	}
	if p.raw["pieces"] != nil {
		h.HasV1 = true
		h.V1 = sha1.Sum(p.info.Bytes)
		pieces, err := bencode.NewCursor(p.raw["pieces"]).Bytes()
		if err != nil {
			return fmt.Errorf("pieces: %w", err)
		}
		if len(pieces)%len(SHA1{}) != 0 {
			return fmt.Errorf("pieces: %d bytes are no multiple of 20", len(pieces))
		}
		p.info.pieces = pieces
	}
	if !h.HasV1 && !h.HasV2 {
		return fmt.Errorf("pieces: %w, and no meta version", bencode.ErrMissing)
	}
	return nil
}

// header reads the keys that say something about the torrent as a whole.
func (p *infoParser) header() error {
	twin, hasTwin := bencode.Get[string](p.fields, "name.utf-8")
	name, err := p.fields.String("name")
	if err != nil && (!hasTwin || p.fields.Has("name")) {
		return err
	}
	p.name = preferUTF8(name, twin, hasTwin)
	p.info.Name, p.info.RawName = SafeName(p.name), p.name
	p.names = newNamer(p.info.Name, p.lim)

	length, err := p.fields.Int("piece length")
	if err != nil {
		return err
	}
	if err := p.lim.checkPieceLength(length, p.info.Hash.HasV2); err != nil {
		return err
	}
	p.info.pieceLength = length
	private, _ := bencode.Get[int64](p.fields, "private")
	p.info.Private = private != 0
	p.info.Source, _ = bencode.Get[string](p.fields, "source")
	return nil
}

// fileList reads the list of files: for a hybrid both of them, which must
// agree, and the v1 one counts, for its pads and offsets.
func (p *infoParser) fileList() error {
	var v2 []File
	if p.info.Hash.HasV2 {
		if p.raw["file tree"] == nil {
			return fmt.Errorf("file tree: %w", bencode.ErrMissing)
		}
		files, err := p.fileTree()
		if err != nil {
			return fmt.Errorf("file tree: %w", err)
		}
		v2 = files
	}
	if !p.info.Hash.HasV1 {
		p.info.Files = v2
		if len(v2) == 1 && len(v2[0].Raw) == 1 {
			// The name of a v2 torrent is advisory; the file's is in the tree.
			p.info.Single, p.info.Name, p.info.RawName = true, SafeName(v2[0].Raw[0]), v2[0].Raw[0]
			p.single(&v2[0])
		}
		return nil
	}
	if err := p.v1Files(); err != nil {
		return err
	}
	if p.info.Hash.HasV2 {
		return p.agree(v2)
	}
	return nil
}

// single makes f the top-level entry itself.
func (p *infoParser) single(f *File) {
	f.Path, f.Raw = p.info.Name, nil
}

// layout gives each file its offset, and the torrent its geometry.
func (p *infoParser) layout() error {
	i := p.info
	aligned := !i.Hash.HasV1
	var off int64
	var pads []byteRange
	for k := range i.Files {
		f := &i.Files[k]
		if aligned && f.Length > 0 {
			if err := p.lim.checkSize(off, i.pieceLength); err != nil {
				return err
			}
			off = ceilDiv(off, i.pieceLength) * i.pieceLength
		}
		f.Offset = off
		if f.Length > math.MaxInt64-off {
			return fmt.Errorf("files: sum of their lengths exceeds 64 bits")
		}
		off += f.Length
		if f.Pad {
			pads = append(pads, byteRange{f.Offset, off})
		} else {
			i.total += f.Length
		}
	}
	if err := p.lim.checkSize(off, i.pieceLength); err != nil {
		return err
	}
	if aligned {
		i.Geometry = alignedGeometry(i.pieceLength, i.Files)
		return nil
	}
	if have, pieces := int64(len(i.pieces)/len(SHA1{})), ceilDiv(off, i.pieceLength); have != pieces {
		return fmt.Errorf("pieces: %d hashes for %d pieces", have, pieces)
	}
	i.Geometry = streamGeometry(i.pieceLength, off, pads)
	return nil
}

// finish settles the names, which needs all files.
func (p *infoParser) finish() {
	links := false
	files := p.info.Files
	for k := range files {
		f := &files[k]
		if f.Pad {
			f.Path, f.Omit = "", true
		}
		links = links || f.Link()
	}
	switch {
	case !p.info.Single:
		p.names.settle(files)
		if links {
			resolveLinks(p.names, files)
		}
	case links:
		files[0].Omit = true // a link that is the whole torrent leads nowhere in it
	}
}

// agree checks that the v1 list, without its pads, is the v2 tree, and takes
// over the roots (BEP 52, "upgrade path").
func (p *infoParser) agree(v2 []File) error {
	k := 0
	var off int64
	for n := range p.info.Files {
		f := &p.info.Files[n]
		start := off
		off += f.Length
		if off < 0 {
			return fmt.Errorf("files: sum of their lengths exceeds 64 bits")
		}
		if f.Pad {
			continue
		}
		if k == len(v2) {
			return fmt.Errorf("%w: %q is in the v1 list only", ErrInconsistent, f.Path)
		}
		t := &v2[k]
		k++
		if !p.sameFile(f, t) {
			return fmt.Errorf("%w: v1 has %q of %d bytes where v2 has %q of %d", ErrInconsistent, f.Path, f.Length, t.Path, t.Length)
		}
		if f.Length > 0 && start%p.info.pieceLength != 0 {
			return fmt.Errorf("%w: %q does not begin on a piece boundary in v1", ErrInconsistent, f.Path)
		}
		f.PiecesRoot = t.PiecesRoot
	}
	if k < len(v2) {
		return fmt.Errorf("%w: %q is in the v2 tree only", ErrInconsistent, v2[k].Path)
	}
	return nil
}

func (p *infoParser) sameFile(v1, v2 *File) bool {
	if v1.Length != v2.Length || v1.Link() != v2.Link() {
		return false
	}
	if v1.Link() && !slices.Equal(v1.link.target, v2.link.target) {
		return false
	}
	if p.info.Single {
		return len(v2.Raw) == 1 && v2.Raw[0] == p.name
	}
	return slices.Equal(v1.Raw, v2.Raw)
}
