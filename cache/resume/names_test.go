package resume

import (
	"slices"
	"testing"

	"torrentfs/metainfo"
)

func FuzzNames(f *testing.F) {
	files := []metainfo.File{{Path: "top/a/b"}, {Path: "top/c"}, {Path: "top/.pad/5", Pad: true}, {Path: "top/d"}}
	f.Add(EncodeNames(files, []string{"top.1/a/b", "top/c", "", "top.1/d"}))
	f.Add(sealText([]byte(namesHead + "0 \"../x\"\n")))
	f.Add(sealText([]byte(namesHead + "1 \"top/d\"\n")))
	f.Fuzz(func(t *testing.T, b []byte) {
		names, err := DecodeNames(b, files)
		if names2, err2 := DecodeNames(sealText(append([]byte(namesHead), b...)), files); err != nil {
			names, err = names2, err2
		}
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for i, n := range names {
			if files[i].Pad {
				continue
			}
			if seen[n] || CheckPath(n) != nil {
				t.Errorf("names %q", names)
			}
			seen[n] = true
		}
		again, err := DecodeNames(EncodeNames(files, names), files)
		if err != nil || !slices.Equal(again, names) {
			t.Errorf("%q became %q: %v", names, again, err)
		}
	})
}
