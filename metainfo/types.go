package metainfo

import (
	"encoding/hex"
	"time"
)

// BlockSize is the greatest and usual length of a block, in bytes: the unit of
// requests (BEP 3) and of the leaves of a merkle tree (BEP 52).
const BlockSize = 16 << 10

// SHA1 is a SHA-1 digest: v1 piece hashes and info-hashes.
type SHA1 [20]byte

// SHA256 is a SHA-256 digest: v2 tree nodes and info-hashes.
type SHA256 [32]byte

func (h SHA1) String() string   { return hex.EncodeToString(h[:]) }
func (h SHA256) String() string { return hex.EncodeToString(h[:]) }

// InfoHash is the identity of a torrent: the hash of the raw bytes of its info
// dictionary, by SHA-1 (BEP 3), SHA-256 (BEP 52) or, for a hybrid, both.
type InfoHash struct {
	V1           SHA1
	V2           SHA256
	HasV1, HasV2 bool
}

// Wire returns the 20 bytes that handshakes and trackers carry: the v1 hash,
// else the v2 hash cut to 20 bytes (BEP 52, "infohash").
func (h InfoHash) Wire() [20]byte {
	if h.HasV1 {
		return h.V1
	}
	return h.WireV2()
}

// WireV2 returns the first 20 bytes of the v2 hash.
func (h InfoHash) WireV2() [20]byte { return [20]byte(h.V2[:20]) }

// String returns the v1 hash in hex, else the whole v2 hash.
func (h InfoHash) String() string {
	if h.HasV1 {
		return h.V1.String()
	}
	return h.V2.String()
}

// MetaInfo is a parsed .torrent (BEP 3). Strings other than names are as the
// torrent spells them: a stranger's bytes, to be escaped before they are
// printed.
type MetaInfo struct {
	Info      *Info
	Trackers  [][]string // tiers (BEP 12): announce-list, else announce; no duplicates, no empty tier
	WebSeeds  []string   // BEP 19 url-list
	HTTPSeeds []string   // BEP 17
	Nodes     []string   // BEP 5, as "host:port"
	Comment   string
	CreatedBy string
	Created   time.Time // zero if absent
	// PieceLayers holds, by pieces root, the hashes of the pieces of each v2
	// file longer than a piece (BEP 52); each has been checked against its
	// root. Some may be missing: peers have them.
	PieceLayers map[SHA256][]SHA256
}

// Info is a parsed info dictionary: what a torrent's identity covers. It does
// not change after parsing and may be shared between goroutines.
type Info struct {
	Name    string // safe name of the top-level entry
	RawName string // the same as the torrent spells it; not safe to show or to create
	Hash    InfoHash
	Private bool   // BEP 27
	Source  string // tag of a private tracker, as the torrent spells it
	Files   []File // torrent order, pads and links included
	Single  bool   // the top-level entry is the one file itself
	Bytes   []byte // raw bencoded info dictionary; aliases what was parsed
	Geometry

	pieces []byte // SHA-1 hashes of a v1 or hybrid torrent, part of Bytes
	total  int64  // see TotalLength
}

// PieceSHA1 returns the hash of a piece. It is for v1 and hybrid torrents only
// (Hash.HasV1), and panics on others.
func (i *Info) PieceSHA1(piece Piece) SHA1 {
	return SHA1(i.pieces[piece*20 : piece*20+20])
}

// TotalLength is the content in bytes: the lengths of all files without pads
// and links.
func (i *Info) TotalLength() int64 { return i.total }

// File is one entry of a torrent's file list.
type File struct {
	// Path is where the mount shows the file, relative to the mount's root and
	// slash-separated: "name" or "name/dir/file". It is safe and unique among
	// the files that are not pads; a pad has none.
	Path       string
	Raw        []string  // path elements below the top-level entry, as the torrent spells them; nil for a single file
	Length     int64     // bytes; 0 for a link
	Offset     int64     // of the first byte in the piece space
	Pad        bool      // BEP 47: zeros that align the next file
	Executable bool      // BEP 47
	Hidden     bool      // BEP 47
	Omit       bool      // not to be shown: a pad, or a link without a target in the torrent
	Symlink    string    // relative target of a link, safe to give to the kernel; "" for other files
	PiecesRoot SHA256    // v2 (BEP 52); zero for empty files and v1 torrents
	ModTime    time.Time // zero if the torrent names none

	link *link // nil for other files
}

// Link reports whether the entry is a symbolic link (BEP 47). A link that is
// not omitted has a Symlink.
func (f *File) Link() bool { return f.link != nil }

// link is what a torrent says of a symbolic link.
type link struct {
	target []string // raw elements, from the top-level entry down
}
