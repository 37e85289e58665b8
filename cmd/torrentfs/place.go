package main

import (
	"torrentfs/cmd/torrentfs/internal/ui"
	"torrentfs/library"
)

// placeFlags say what may become of the data directory and its disk.
type placeFlags struct {
	Overwrite bool    `group:"data" help:"Write over files that are in the data directory under the torrent's names although they are not the torrent's, and use a hidden name (.ssh) as it is; by default its data then goes to another name."`
	KeepFree  reserve `group:"data" default:"auto" placeholder:"SIZE" help:"Leave so much of the disk free, such as 5G; auto is 1 percent of it, 1 GiB at most."`
}

func (f placeFlags) options(purpose string) library.AddOptions {
	return library.AddOptions{Overwrite: f.Overwrite, KeepFree: int64(f.KeepFree), Purpose: purpose}
}

// reserve is what is kept free of the disk, in bytes, as [library.AddOptions]
// has it: 0 leaves it to the library, less than that is nothing.
type reserve int64

// UnmarshalText parses "auto" or a size.
func (r *reserve) UnmarshalText(text []byte) error {
	if string(text) == "auto" {
		*r = 0
		return nil
	}
	n, err := ui.ParseSize(string(text))
	if err == nil && n == 0 {
		n = -1
	}
	*r = reserve(n)
	return err
}
