package cache

import (
	"fmt"
	"os"
	"time"

	"torrentfs/cache/resume"
	"torrentfs/internal/bitset"
)

// catalogueEvery is from one writing of the catalogue to the next.
const catalogueEvery = 10 * time.Second

// completeFiles lists the files that others may take from here, also as a set.
func (s *Store) completeFiles() (files []resume.CatalogueFile, set bitset.Set) {
	set = bitset.New(len(s.lay.files))
	for i := range s.lay.files {
		f := &s.lay.files[i]
		if stored(f) && f.Length > 0 && s.complete.has(i) {
			set.Set(i)
			files = append(files, resume.CatalogueFile{Root: f.PiecesRoot, Length: f.Length, Path: f.Path})
		}
	}
	return files, set
}

// catalogue writes down which files are complete, where that changed. Where it
// was written only just now it returns how long to wait, unless that is not to be.
func (y *syncer) catalogue(now time.Time, atOnce bool) (wait time.Duration) {
	s := y.s
	if s.resume.id.V2 == [32]byte{} || s.resume.refused != nil {
		return 0
	}
	files, set := s.completeFiles()
	if set.Equal(y.catalogued) {
		return 0
	}
	if next := y.cataloguedAt.Add(catalogueEvery); !atOnce && now.Before(next) {
		return next.Sub(now)
	}
	y.catalogued, y.cataloguedAt = set, now
	if err := y.writeCatalogue(files); err != nil {
		s.log.Debug("write catalogue of complete files: " + err.Error())
	}
	return 0
}

func (y *syncer) writeCatalogue(files []resume.CatalogueFile) error {
	s := y.s
	name := s.resume.base + resume.CatalogueSuffix
	b := resume.EncodeCatalogue(files)
	if len(b) > resume.MaxCatalogue {
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
