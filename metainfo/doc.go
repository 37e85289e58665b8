// Package metainfo knows what a torrent is: it reads .torrent files and info
// dictionaries of version 1 (BEP 3), version 2 and hybrids of both (BEP 52),
// reads and writes magnet links (BEP 9, 53), creates torrents, maps files to
// pieces to blocks, computes merkle trees, and gives strangers' files names
// that are safe to show.
//
// What Parse returns never changes and may be shared between goroutines. The
// package keeps no state of its own; Create is the only function that starts
// goroutines, and it waits for them.
//
// It never touches paths of a disk or the network: torrents come as bytes or
// an io.Reader, the content of a new torrent through functions that open it.
// It never writes to the bytes that it parses, which the result keeps.
//
// # Trust
//
// A torrent is a stranger's word. The bytes are scanned (package bencode)
// before anything is built from them; memory is bounded by the size of the
// torrent and by Limits, never by a number inside it. An info-hash is taken
// over the raw bytes of the info dictionary. An error is one line that says
// where (keys and indices) and what.
//
// # Decisions
//
// Clients treat some torrents differently. Here:
//
//   - A torrent without a byte of content (no files, or empty files, pads and
//     links alone) is refused with ErrEmpty. No BEP forbids it, but libtorrent
//     and Transmission refuse it, so it has no swarm; and without it every
//     torrent has at least one piece.
//   - Files of the same path are all kept, however many: the first has the
//     name, the others get numbers before their extension (bar.1.txt), in
//     torrent order. A file that has the path of a directory is renamed too.
//   - Bytes behind the torrent's dictionary are ignored; duplicate keys are
//     refused; keys out of order are tolerated in v1 torrents, and refused in
//     the info dictionary of v2 and hybrid torrents.
//   - A v2 torrent may lack piece layers, of some files or of all, as one that
//     comes by a magnet link does: peers prove them. A layer that is wrong, or of
//     a root that no file has, is refused. BEP 52 wants all of them in a
//     .torrent, but there are tools that leave them out.
//   - A meta version other than 2 is refused (ErrVersion), for hybrids too.
//   - A link (BEP 47) has no content, even if it claims a length. One whose target is not in the
//     torrent stays in the list, to keep the numbering, but is not to be shown (File.Omit).
//   - Pads are recognised by their attribute, and by the name that BitComet
//     gives them (_____padding_file_ and a number). A pad needs no path.
//   - name.utf-8 and path.utf-8 are preferred to name and path.
//   - A torrent of v2 alone is that of a single file if its tree is one file at
//     the root, which then has its name from the tree (BEP 52, and libtorrent);
//     else the tree lies below a directory with the torrent's name. In a hybrid
//     the v1 half decides, since it can tell a file from a directory of one.
//   - "\" is an ordinary character in a name: it separates nothing on the systems that mount.
package metainfo
