package wire

import (
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"

	"torrentfs/metainfo/bencode"
)

const (
	maxExtensions  = 64  // names kept of an "m" dictionary
	maxExtName     = 64  // bytes of such a name
	maxVersionName = 128 // bytes kept of "v"
)

// ExtHandshake is the body of the extension message 0 (BEP 10). A zero field
// was absent (or, in what a peer sent, useless) and is not sent.
//
// A peer may send several; a later one changes what it names and leaves the
// rest (see [ExtIDs]).
type ExtHandshake struct {
	M            map[string]uint8 // extension name to the sender's id for it; 0 switches one off
	V            string           // client name and version, for people to read; never trusted
	Reqq         int              // requests that the sender queues without dropping any
	MetadataSize int64            // bytes of the info dictionary (BEP 9), as claimed: compare before use
	Port         uint16           // "p": TCP port that the sender listens on
	YourIP       netip.Addr       // the receiver's address as the sender sees it: a vote, not a fact
	IPv4, IPv6   netip.Addr       // the sender's other addresses
	UploadOnly   bool             // BEP 21: not interested in downloading anything
	Encrypt      bool             // "e": prefers encrypted connections
}

// Append appends the bencoded body; [AppendExtended] with id 0 makes a message
// of it.
func (h *ExtHandshake) Append(b []byte) []byte {
	b = append(b, 'd')
	if h.Encrypt {
		b = appendInt(appendString(b, "e"), 1)
	}
	b = appendAddr(b, "ipv4", h.IPv4)
	b = appendAddr(b, "ipv6", h.IPv6)
	b = append(appendString(b, "m"), 'd')
	for _, name := range slices.Sorted(maps.Keys(h.M)) {
		b = appendInt(appendString(b, name), int64(h.M[name]))
	}
	b = append(b, 'e')
	if h.MetadataSize > 0 {
		b = appendInt(appendString(b, "metadata_size"), h.MetadataSize)
	}
	if h.Port > 0 {
		b = appendInt(appendString(b, "p"), int64(h.Port))
	}
	if h.Reqq > 0 {
		b = appendInt(appendString(b, "reqq"), int64(h.Reqq))
	}
	if h.UploadOnly {
		b = appendInt(appendString(b, "upload_only"), 1)
	}
	if h.V != "" {
		b = appendString(appendString(b, "v"), h.V)
	}
	b = appendAddr(b, "yourip", h.YourIP)
	return append(b, 'e')
}

func appendAddr(b []byte, key string, a netip.Addr) []byte {
	if !a.IsValid() {
		return b
	}
	return appendStringBytes(appendString(b, key), a.Unmap().AsSlice())
}

// ParseExtHandshake decodes the body of the extension message 0. A body that is
// no dictionary is an error that wraps [ErrProtocol]; a key of a wrong type or
// with a value out of its range counts as absent, since BEP 10 leaves every
// key to the sender's taste. It keeps at most 64 extensions, and no reference
// to body. Bytes behind the dictionary are ignored.
func ParseExtHandshake(body []byte) (ExtHandshake, error) {
	d, _, err := bencode.DecodeDict(body, bodyLimits)
	if err != nil {
		return ExtHandshake{}, bodyErrorf("extension handshake", err)
	}
	h := ExtHandshake{
		Reqq:         int(intIn(d, "reqq", 1, math.MaxInt32)),
		MetadataSize: intIn(d, "metadata_size", 1, math.MaxInt64),
		Port:         uint16(intIn(d, "p", 1, math.MaxUint16)),
		YourIP:       addrOf(d, "yourip", 0),
		IPv4:         addrOf(d, "ipv4", 4),
		IPv6:         addrOf(d, "ipv6", 16),
		UploadOnly:   intIn(d, "upload_only", math.MinInt64, math.MaxInt64) != 0,
		Encrypt:      intIn(d, "e", math.MinInt64, math.MaxInt64) != 0,
	}
	if v, ok := bencode.Get[string](d, "v"); ok {
		h.V = strings.ToValidUTF8(v[:min(len(v), maxVersionName)], "")
	}
	if m, ok := bencode.Get[map[string]any](d, "m"); ok {
		h.M = extensionIDs(m)
	}
	return h, nil
}

// extensionIDs keeps the entries of an "m" dictionary that can be meant.
// Beyond maxExtensions it keeps the first in the order of names, so that the
// outcome does not depend on the map's order.
func extensionIDs(m bencode.Dict) map[string]uint8 {
	ids := make(map[string]uint8, min(len(m), maxExtensions))
	for _, name := range slices.Sorted(maps.Keys(m)) {
		id, err := m.IntIn(name, 0, math.MaxUint8)
		if err != nil || len(name) > maxExtName {
			continue
		}
		if len(ids) == maxExtensions {
			break
		}
		ids[name] = uint8(id)
	}
	return ids
}

// intIn returns an integer within lo and hi, else 0.
func intIn(d bencode.Dict, key string, lo, hi int64) int64 {
	v, err := d.IntIn(key, lo, hi)
	if err != nil {
		return 0
	}
	return v
}

// addrOf returns a compact address of size bytes, or of either family if size is 0; else the zero
// Addr.
func addrOf(d bencode.Dict, key string, size int) netip.Addr {
	s, _ := bencode.Get[string](d, key)
	if size != 0 && len(s) != size {
		return netip.Addr{}
	}
	a, _ := netip.AddrFromSlice([]byte(s))
	a = a.Unmap()
	if size == 16 && a.Is4() {
		return netip.Addr{}
	}
	return a
}

// ExtIDs are the numbers under which a peer wants to get the extension messages that this package
// can write; 0 if the peer does not support one. They belong to one connection.
type ExtIDs struct {
	Metadata  uint8
	PEX       uint8
	DontHave  uint8
	Holepunch uint8
}

// Update takes over what an extension handshake says. Handshakes add up: an
// extension that h does not name stays as it was, one that it maps to 0 goes.
func (e *ExtIDs) Update(h *ExtHandshake) {
	for name, id := range map[string]*uint8{
		ExtMetadata: &e.Metadata, ExtPEX: &e.PEX, ExtDontHave: &e.DontHave, ExtHolepunch: &e.Holepunch,
	} {
		if v, ok := h.M[name]; ok {
			*id = v
		}
	}
}
