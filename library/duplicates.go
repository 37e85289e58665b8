package library

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"torrentfs/cache"
	"torrentfs/cache/vfs"
	"torrentfs/metainfo"
	"torrentfs/swarm"
)

// offerDuplicates looks for files that other torrents have and that are of the
// same content as ours (BEP 52, "pieces root"), and offers them to the engine
// instead of a download, until ctx ends. It looks in the torrent's own data
// folder, in those of the library's other torrents, and below the data roots.
func (t *Torrent) offerDuplicates(ctx context.Context, dataDir string) {
	ours := map[metainfo.SHA256][]int{} // files by root
	want := map[metainfo.SHA256]int64{}
	for i := range t.info.Files {
		f := &t.info.Files[i]
		if f.Length > 0 && !f.Pad && !f.Link() && !t.store.FileComplete(i) {
			ours[f.PiecesRoot] = append(ours[f.PiecesRoot], i)
			want[f.PiecesRoot] = f.Length
		}
	}
	if len(want) == 0 {
		return
	}
	found := cache.FindDuplicates(ctx, cache.DuplicateSearch{
		Hash: t.info.Hash, DataDir: dataDir, DataDirs: t.l.dataDirs(dataDir), Want: want,
	})
	if len(found) == 0 {
		return
	}
	folders := map[string]vfs.FS{}
	defer func() {
		<-ctx.Done()
		for _, f := range folders {
			f.Close()
		}
	}()
	var offered []swarm.Duplicate
	for _, tw := range found {
		folder := folders[tw.DataDir]
		if folder == nil {
			var err error
			if folder, err = vfs.Open(tw.DataDir); err != nil {
				continue
			}
			folders[tw.DataDir] = folder
		}
		for _, i := range ours[tw.Root] {
			if st, err := folder.Lstat(tw.Path); err != nil || !st.Mode.IsRegular() || st.Size != tw.Length || tw.DataDir == dataDir && tw.Path == t.store.Path(i) {
				continue // it was removed, or is ours
			}
			offered = append(offered, t.duplicate(i, folder, tw))
		}
	}
	if len(offered) > 0 {
		t.log().Info("other torrents have some of the files: what is right of them is not downloaded", "files", len(offered))
	}
	if err := t.swarm.Offer(offered); err != nil {
		return // it was closed
	}
}

// duplicate is a file of ours that another file is to be taken for.
func (t *Torrent) duplicate(file int, folder vfs.FS, tw cache.Duplicate) swarm.Duplicate {
	f := &t.info.Files[file]
	first := t.info.PieceOf(f.Offset)
	return swarm.Duplicate{
		First: first, Pieces: t.info.PieceOf(f.Offset+f.Length-1) - first + 1, Path: filepath.Join(tw.DataDir, tw.Path),
		Fill: func(piece metainfo.Piece) error {
			// For each piece anew: there may be thousands of files.
			src, err := folder.OpenFile(tw.Path, os.O_RDONLY, 0)
			if err != nil {
				return fmt.Errorf("open the file of another torrent: %w", err)
			}
			defer src.Close()
			return t.store.Fill(piece, src)
		},
	}
}

// dataDirs are the folders in which other torrents may have files, the one
// given first.
func (l *Library) dataDirs(own string) []string {
	dirs := []string{own}
	l.mu.Lock()
	for t := range l.torrents {
		dirs = append(dirs, t.dataDir)
	}
	l.mu.Unlock()
	for _, root := range l.cfg.DataRoots {
		dirs = append(dirs, cache.SubFolders(root)...)
	}
	others := slices.DeleteFunc(dirs[1:], func(d string) bool { return d == own })
	slices.Sort(others)
	return append(dirs[:1], slices.Compact(others)...)
}
