// Package safetext makes text from strangers safe to show: on a terminal, in a log, in an attribute
// of a file, in JSON that may be printed. Text from a torrent, a link, a peer, a tracker, a web
// server, a proxy, a name server or a disk may hold escape sequences that write the clipboard,
// characters that turn the direction of a line or end it, and invisible ones. None gets out as it
// is.
//
// Escape is the one definition of what is harmful. It is applied on the way out: by the log's
// writers and handlers, the terminal's live line, what commands print, the message of an error,
// extended attributes. Packages below hand on what they were told, at most cut short by Clip.
package safetext
