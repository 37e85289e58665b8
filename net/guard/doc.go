// Package guard decides which hosts may be contacted because a torrent named them: trackers, web
// seeds, and the targets of their redirects.
//
// A .torrent is a stranger's word, and a URL in it makes this computer send
// requests from inside the user's network. So names outside of DNS are never
// looked up, and every address is judged after the lookup, for every
// connection, and the connection is made to just that address: a name that
// changes its mind between check and use gains nothing, nor does a redirect.
// Loopback, private and other special addresses are reached only for a host
// that the torrent itself wrote as such an address ([WithLocal]), with a URL that
// can be nothing but an announce or a file ([IsAnnounce], [IsFile]), or for a host
// that the user named ([Trust]). The public addresses of this machine, and its IPv6
// networks, are reached by a name as well, with an announce alone.
//
// Behind a proxy that resolves names the addresses cannot be checked; only the name is
// ([CheckRemote]). Non-public addresses are not asked of it, except those that the user named.
//
// What URLs hold of secrets is taken out of errors and logs by [Redact] and its kin.
//
// It holds no state but its configuration, keeps no connection, and starts
// goroutines only within a call. It never sends anything.
package guard
