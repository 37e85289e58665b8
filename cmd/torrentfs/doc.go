// Command torrentfs mounts a torrent as a read-only directory and seeds it in the
// background; beside that it is a plain BitTorrent client and a tracker.
//
// This package is the command line and nothing else: one file per command,
// each an options struct that kong fills and a Run method that wires the
// library, the file system and the tracker together. What somebody who imports
// the packages would want as well does not belong here.
//
// It is the only place that knows exit codes (see exit.go), signals, the
// terminal and environment variables. The state of a run is one [app], made by
// main and handed to the command; there are no globals.
package main
