package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// mayWrite refuses an output that cannot be written, or must not be, before
// hours of hashing and not after.
func mayWrite(doing, output string, force bool) error {
	if output == "-" {
		return nil
	}
	st, err := os.Stat(output)
	switch {
	case err == nil && st.IsDir():
		return fail(exitUsage, "name a file, such as "+filepath.Join(output, "NAME.torrent"), "%s: %s is a directory", doing, output)
	case err == nil && !st.Mode().IsRegular():
		return nil // a device or pipe, which is written to
	}
	if _, err := os.Lstat(output); err == nil && !force {
		return fail(exitUsage, "use --force to replace it, or choose another name", "%s: %s exists", doing, output)
	}
	return canCreateIn(filepath.Dir(output), output)
}

// canCreateIn tries whether a file can be made in a directory.
func canCreateIn(dir, output string) error {
	f, err := os.CreateTemp(dir, ".torrentfs-*")
	if err != nil {
		hint := "choose a directory that you may write to"
		if errors.Is(err, fs.ErrNotExist) {
			hint = "make that directory first, or choose another one"
		}
		return fail(exitDisk, hint, "write torrent %s: directory %s: %w", output, dir, bareError(err))
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// writeTorrent writes a torrent file: whole or not at all. A device or pipe is
// written to, and not replaced by a file.
func writeTorrent(output string, data []byte) error {
	var err error
	if st, serr := os.Stat(output); serr == nil && !st.Mode().IsRegular() {
		err = os.WriteFile(output, data, 0o644)
	} else {
		err = renameio.WriteFile(output, data, 0o644)
	}
	if err != nil {
		return fail(exitDisk, "", "write torrent %s: %w", output, bareError(err))
	}
	return nil
}
