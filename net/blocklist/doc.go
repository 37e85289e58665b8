// Package blocklist reads lists of addresses that a user blocks, and looks addresses up in them
// fast.
//
// [Parse] takes the usual formats, also mixed: PeerGuardian text (P2P, "description:first-last"),
// eMule's ipfilter (DAT, "first - last , level , description"), plain ranges, networks
// ("192.0.2.0/24") and single addresses, each also compressed with gzip. A [List] never changes and
// may be shared between goroutines; a caller that wants another one replaces it.
//
// It never fetches anything, never resolves a name, and takes eight bytes of memory for a range of
// IPv4, for any text in its line.
package blocklist
