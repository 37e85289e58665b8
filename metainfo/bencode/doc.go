// Package bencode reads and writes bencode (BEP 3, "bencoding") that a
// stranger may have written.
//
// The decoding and encoding of values is done by jackpal/bencode-go. That library trusts its input:
// a negative or a huge string length, a deep nesting or a number of a million digits makes it
// panic, exhaust memory or overflow the stack. So nothing reaches it here before Scan has accepted
// the bytes. Scan is strict if laxness is dangerous or makes two parsers disagree:
//
//   - an integer is canonical (no leading zero, no "-0", no plus sign) and fits
//     in an int64; a string length is canonical and is at most what is left of
//     the input;
//   - a dictionary key is a string and appears once;
//   - nesting and the number of items are limited.
//
// Dictionary keys out of order are tolerated unless Limits.Sorted says
// otherwise, because real version 1 torrents contain them. Bytes after the
// value are the caller's business: Scan and Decode return where it ended
// (BEP 9 and 10 append a payload to a dictionary).
//
// There are three ways to read, in order of size of the data:
//
//   - Decode and the getters of Dict, for messages and small dictionaries;
//   - Span, for the exact bytes of one top-level key (the info-hash covers the
//     raw bytes of the key "info", never a re-encoding of it);
//   - Cursor, a pull parser without allocation, for the lists of a torrent of
//     a million files, which would cost gigabytes as maps.
//
// The package holds no state, starts no goroutine, does no input or output and
// never allocates by a number that the input named.
package bencode
