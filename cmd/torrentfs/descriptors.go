package main

import (
	"log/slog"

	"golang.org/x/sys/unix"
)

const (
	defaultOpenFiles = 256 // payload files
	minReserve       = 20  // descriptors for all else: ports, the mount, logs, lookups, state
)

// descriptors divides the limit of open files between payload files and peers.
type descriptors struct{ files, peers int }

// shareDescriptors gives a quarter to files, what is left to peers, and keeps a
// reserve; a generous limit changes nothing.
func shareDescriptors(limit uint64, peers int) descriptors {
	n := int(min(limit, 1<<20))
	files := min(defaultOpenFiles, max(4, n/4))
	return descriptors{files: files, peers: min(peers, max(2, n-files-max(minReserve, n/4)))}
}

// fitDescriptors is shareDescriptors for this process's limit, which Go raises
// as far as it may. It warns if that means to do with less.
func fitDescriptors(log *slog.Logger, peers int) descriptors {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return descriptors{files: defaultOpenFiles, peers: peers}
	}
	d := shareDescriptors(uint64(limit.Cur), peers)
	if d.peers < peers {
		log.Warn("few files may be open: doing with fewer peers; raise the limit (ulimit -n, LimitNOFILE=)",
			"limit", limit.Cur, "peers", d.peers, "wanted", peers)
	}
	return d
}
