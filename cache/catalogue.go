package cache

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"torrentfs/internal/bitset"
	"torrentfs/metainfo"
)

// The catalogue of a v2 torrent, stateDir/INFO-HASH.files, names its complete
// files by the roots of their trees, so that other torrents find them (see
// FindTwins). It is text:
//
//	torrentfs files 1
//	<root, hex> <length> <path below the data folder, quoted>
//	end <CRC-32C of all before, hex>
//
// It is a hint and nothing is trusted for its sake, so it is replaced without
// a sync: one that a crash tore is refused, and made anew.
const (
	catalogueHead   = "torrentfs files 1\n"
	CatalogueSuffix = ".files"
	MaxCatalogue    = 16 << 20
	catalogueEvery  = 10 * time.Second // from one writing to the next
)

var ErrCatalogue = errors.New("catalogue is damaged")

// catalogued is a file that a catalogue names.
type CatalogueFile struct {
	Root   metainfo.SHA256
	Length int64
	Path   string
}

func EncodeCatalogue(files []CatalogueFile) []byte {
	b := []byte(catalogueHead)
	for _, f := range files {
		b = hex.AppendEncode(b, f.Root[:])
		b = append(strconv.AppendInt(append(b, ' '), f.Length, 10), ' ')
		b = append(strconv.AppendQuote(b, f.Path), '\n')
	}
	return sealText(b)
}

func DecodeCatalogue(b []byte) ([]CatalogueFile, error) {
	lines, ok := openText(b, catalogueHead)
	if !ok {
		return nil, ErrCatalogue
	}
	var files []CatalogueFile
	for line := range strings.Lines(lines) {
		root, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		number, quoted, _ := strings.Cut(rest, " ")
		var f CatalogueFile
		n, err := hex.Decode(f.Root[:], []byte(root[:min(len(root), 64)]))
		length, lerr := strconv.ParseInt(number, 10, 64)
		name, qerr := strconv.Unquote(quoted)
		if err != nil || n != len(f.Root) || len(root) != 64 || lerr != nil || length <= 0 || qerr != nil || CheckPath(name) != nil {
			return nil, ErrCatalogue
		}
		f.Length, f.Path = length, filepath.ToSlash(name)
		files = append(files, f)
	}
	return files, nil
}

// completeFiles lists the files that others may take from here, also as a set.
func (s *Store) completeFiles() (files []CatalogueFile, set bitset.Set) {
	set = bitset.New(len(s.lay.files))
	for i := range s.lay.files {
		f := &s.lay.files[i]
		if stored(f) && f.Length > 0 && s.complete.has(i) {
			set.Set(i)
			files = append(files, CatalogueFile{f.PiecesRoot, f.Length, f.Path})
		}
	}
	return files, set
}

// catalogue writes down which files are complete, where that changed. Where it
// was written only just now it returns how long to wait, unless that is not to be.
func (s *Store) catalogue(now time.Time, atOnce bool) (wait time.Duration) {
	if s.resume.id.V2 == [32]byte{} || s.resume.refused != nil {
		return 0
	}
	files, set := s.completeFiles()
	if set.Equal(s.catalogued) {
		return 0
	}
	if next := s.cataloguedAt.Add(catalogueEvery); !atOnce && now.Before(next) {
		return next.Sub(now)
	}
	s.catalogued, s.cataloguedAt = set, now
	if err := s.writeCatalogue(files); err != nil {
		s.log.Debug("write catalogue of complete files: " + err.Error())
	}
	return 0
}

func (s *Store) writeCatalogue(files []CatalogueFile) error {
	name := s.resume.base + CatalogueSuffix
	b := EncodeCatalogue(files)
	if len(b) > MaxCatalogue {
		return fmt.Errorf("%d bytes are too many", len(b))
	}
	f, err := s.fs.OpenFile(name+".tmp", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, 0)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return s.fs.Rename(name+".tmp", name)
}
