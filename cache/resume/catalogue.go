package resume

import (
	"encoding/hex"
	"errors"
	"path/filepath"
	"strconv"
	"strings"

	"torrentfs/metainfo"
)

// The catalogue of a v2 torrent, StateDir/INFO-HASH.files, names its complete
// files by the roots of their trees, so that other torrents find them. It is text:
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
	MaxCatalogue    = 16 << 20 // bytes of a catalogue
)

// ErrCatalogue says that a catalogue is damaged, or is none.
var ErrCatalogue = errors.New("catalogue is damaged")

// CatalogueFile is a file that a catalogue names.
type CatalogueFile struct {
	Root   metainfo.SHA256
	Length int64
	Path   string
}

// EncodeCatalogue makes a catalogue of files.
func EncodeCatalogue(files []CatalogueFile) []byte {
	b := []byte(catalogueHead)
	for _, f := range files {
		b = hex.AppendEncode(b, f.Root[:])
		b = append(strconv.AppendInt(append(b, ' '), f.Length, 10), ' ')
		b = append(strconv.AppendQuote(b, f.Path), '\n')
	}
	return sealText(b)
}

// DecodeCatalogue reads a catalogue. Its paths are local ones.
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
