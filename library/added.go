package library

import (
	"path/filepath"
	"time"
)

// There is no torrent that was made before, and programs take such dates for errors: zip(1) knows none before 1980.
var oldestDate = time.Date(2001, time.January, 1, 0, 0, 0, 0, time.UTC)

// shownDate is the date of files that have none: the torrent's, or if that has none, when the torrent was first added to
// its folder. It is the same for each mount of the folder; if the file system does not tell, it is no date of today.
func shownDate(created time.Time, dataDir string) time.Time {
	if !created.Before(oldestDate) {
		return created
	}
	for _, dir := range []string{filepath.Join(dataDir, ".torrentfs"), dataDir} {
		if at, ok := birth(dir); ok && !at.Before(oldestDate) {
			return at
		}
	}
	return oldestDate
}
