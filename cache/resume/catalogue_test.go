package resume

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"reflect"
	"testing"

	"torrentfs/metainfo"
)

// sealed ends a catalogue's text as the encoder does.
func sealed(text string) []byte {
	return fmt.Appendf([]byte(text), "end %08x\n", crc32.Checksum([]byte(text), castagnoli))
}

func TestCatalogueRoundTrip(t *testing.T) {
	for _, files := range [][]CatalogueFile{
		nil,
		{{metainfo.SHA256{1}, 1, "a"}},
		{{metainfo.SHA256{0xff}, 1 << 50, "top/ünï \"x\"\n\\ y"}, {metainfo.SHA256{}, 7, "b/c"}},
	} {
		got, err := DecodeCatalogue(EncodeCatalogue(files))
		if err != nil || !reflect.DeepEqual(got, files) {
			t.Errorf("%v became %v (%v)", files, got, err)
		}
	}
}

func TestCatalogueRefuses(t *testing.T) {
	root := fmt.Sprintf("%064x", 1)
	good := EncodeCatalogue([]CatalogueFile{{metainfo.SHA256{1}, 5, "a"}})
	for name, b := range map[string][]byte{
		"nothing":         nil,
		"no end":          []byte(catalogueHead),
		"torn":            good[:len(good)-3],
		"flipped":         bytes.Replace(good, []byte(" 5 "), []byte(" 6 "), 1),
		"another version": sealed("torrentfs files 2\n"),
		"short root":      sealed(catalogueHead + "00 5 \"a\"\n"),
		"long root":       sealed(catalogueHead + root + "00 5 \"a\"\n"),
		"no hex":          sealed(catalogueHead + "zz" + root[2:] + " 5 \"a\"\n"),
		"no length":       sealed(catalogueHead + root + " \"a\"\n"),
		"empty":           sealed(catalogueHead + root + " 0 \"a\"\n"),
		"negative":        sealed(catalogueHead + root + " -1 \"a\"\n"),
		"not quoted":      sealed(catalogueHead + root + " 5 a\n"),
		"outside":         sealed(catalogueHead + root + " 5 \"../a\"\n"),
		"absolute":        sealed(catalogueHead + root + " 5 \"/etc/passwd\"\n"),
		"ours":            sealed(catalogueHead + root + " 5 \".torrentfs/x\"\n"),
		"empty line":      sealed(catalogueHead + "\n"),
	} {
		if got, err := DecodeCatalogue(b); err == nil {
			t.Errorf("%s: taken, with %v", name, got)
		}
	}
}

func FuzzCatalogue(f *testing.F) {
	f.Add(EncodeCatalogue(nil))
	f.Add(EncodeCatalogue([]CatalogueFile{{metainfo.SHA256{1}, 1, "a"}, {metainfo.SHA256{2}, 1 << 40, "ü/b\n"}}))
	f.Add([]byte(catalogueHead))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, b := range [][]byte{b, sealed(catalogueHead + string(b))} {
			files, err := DecodeCatalogue(b)
			if err != nil {
				continue
			}
			for _, x := range files {
				if x.Length <= 0 || CheckPath(x.Path) != nil {
					t.Fatalf("took %+v", x)
				}
			}
			again, err := DecodeCatalogue(EncodeCatalogue(files))
			if err != nil || !reflect.DeepEqual(again, files) {
				t.Fatalf("%v became %v (%v)", files, again, err)
			}
		}
	})
}
