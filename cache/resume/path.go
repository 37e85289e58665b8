package resume

import (
	"fmt"
	"path"
	"path/filepath"
	"strings"
)

// StateDir holds what this package describes, below the data folder.
const StateDir = ".torrentfs"

// CheckPath is the last line behind metainfo's safe names: nothing outside
// DataDir, and nothing in our own directory (in any case: some file systems
// do not tell).
func CheckPath(p string) error {
	if p == "" || path.Clean(p) != p || !filepath.IsLocal(filepath.FromSlash(p)) {
		return fmt.Errorf("lay out %q: not a local path", p)
	}
	first, _, _ := strings.Cut(p, "/")
	if strings.EqualFold(first, StateDir) {
		return fmt.Errorf("lay out %q: the name %s is reserved", p, StateDir)
	}
	return nil
}
