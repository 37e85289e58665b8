// Package vfs is the seam between the cache and a disk: the dozen operations
// that the cache needs of a file system, the real one below a directory, and
// nothing else.
//
// It exists so that the cache can be run on a disk that forgets what was not
// synced and fails on demand (internal/crashfs). It holds no state beyond the
// open directory; whoever opened a [FS] or a [File] closes it. Names are
// slash-separated and relative to the root; no operation reaches out of the
// root, not even through a symbolic link that lies in it.
package vfs
