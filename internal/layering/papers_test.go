package layering

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// testVariable matches how tests read an environment variable: directly, or by a constant.
var testVariable = regexp.MustCompile(`(?:Getenv\(|Variable\s*=\s*)"(TORRENTFS_[A-Z_]+)"`)

// docs/testing.md lists every variable that tests read.
func TestVariablesOfTestsAreListed(t *testing.T) {
	paper, err := os.ReadFile("../../docs/testing.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	err = filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && len(d.Name()) > 2:
			return filepath.SkipDir
		case !isOfTests(path):
			return nil
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range testVariable.FindAllSubmatch(source, -1) {
			found++
			if !strings.Contains(string(paper), "`"+string(m[1])) {
				t.Errorf("%s reads %s, which docs/testing.md does not list", strings.TrimPrefix(path, "../../"), m[1])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found < 10 {
		t.Errorf("%d variables found: the search is broken", found)
	}
}
