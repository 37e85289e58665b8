package library

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestShownDate(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, ".torrentfs"), 0o755); err != nil {
		t.Fatal(err)
	}
	said := time.Date(2013, 4, 5, 6, 7, 8, 0, time.UTC)
	if got := shownDate(said, dir); !got.Equal(said) {
		t.Errorf("a torrent of %v is shown as of %v", said, got)
	}
	for name, created := range map[string]time.Time{"none": {}, "the epoch": time.Unix(0, 0), "too old": time.Unix(99, 0)} {
		first := shownDate(created, dir)
		if first.Year() < 1980 || first.After(time.Now().Add(time.Minute)) {
			t.Errorf("%s: shown as of %v", name, first)
		}
		if again := shownDate(created, dir); !again.Equal(first) {
			t.Errorf("%s: shown as of %v, then of %v", name, first, again)
		}
	}
	if got := shownDate(time.Time{}, filepath.Join(dir, "nowhere")); !got.Equal(oldestDate) {
		t.Errorf("without a folder: %v", got)
	}
}
