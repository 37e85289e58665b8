package main

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"

	"torrentfs/metainfo"
)

// loadTorrent reads a .torrent file; "-" is standard input.
func (a *app) loadTorrent(name string) (*metainfo.MetaInfo, error) {
	if strings.HasPrefix(name, "magnet:") {
		return nil, fail(exitTorrent, "get its .torrent file first", "open torrent: a magnet link has no file list, and fetching it from peers is not built yet")
	}
	var r io.Reader = a.stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, missingFailure(err)
		}
		defer f.Close() //nolint:errcheck // nothing was written
		r = f
	}
	mi, err := metainfo.Read(r, metainfo.Limits{})
	if err != nil {
		return nil, fail(exitTorrent, "", "read torrent %s: %w", name, err)
	}
	return mi, nil
}

func missingFailure(err error) error {
	hint := ""
	if errors.Is(err, fs.ErrNotExist) {
		hint = "check the name"
	}
	return fail(exitTorrent, hint, "open torrent: %w", err)
}
