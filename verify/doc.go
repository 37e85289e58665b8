// Package verify hashes data on disk against a torrent and reports which pieces and files are
// right.
//
// It only reads: it trusts no resume file and leaves none. All cores hash;
// [Data] waits for every goroutine it starts. It follows no link out of the
// directory that it is given.
package verify
