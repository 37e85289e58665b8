package wire

import (
	"encoding/binary"
	"net/netip"

	"torrentfs/metainfo/bencode"
)

// MaxPEX is the most added and the most dropped contacts of a PEX message
// (BEP 11: "should not exceed 50").
const MaxPEX = 50

// PEXFlags tell what the sender knows of a contact.
type PEXFlags uint8

// The flags of BEP 11.
const (
	PEXEncryption PEXFlags = 0x01 // prefers encryption
	PEXSeed       PEXFlags = 0x02 // seed or upload only
	PEXuTP        PEXFlags = 0x04 // supports uTP
	PEXHolepunch  PEXFlags = 0x08 // supports ut_holepunch
	PEXReachable  PEXFlags = 0x10 // the sender connected to it
)

// PEXPeer is a contact that the sender of a PEX message is connected to.
type PEXPeer struct {
	Addr  netip.AddrPort
	Flags PEXFlags
}

// PEX is the body of a ut_pex message (BEP 11): changes to the sender's set of
// connected peers. Everything in it is hearsay.
type PEX struct {
	Added   []PEXPeer
	Dropped []netip.AddrPort
}

// Append appends the message's body. Contacts beyond [MaxPEX] and invalid
// addresses are left out.
func (p *PEX) Append(b []byte) []byte {
	var added, flags, added6, flags6, dropped, dropped6 []byte
	for _, c := range p.Added[:min(len(p.Added), MaxPEX)] {
		if a := c.Addr.Addr().Unmap(); a.Is4() {
			added, flags = appendContact(added, c.Addr), append(flags, byte(c.Flags))
		} else if a.Is6() {
			added6, flags6 = appendContact(added6, c.Addr), append(flags6, byte(c.Flags))
		}
	}
	for _, a := range p.Dropped[:min(len(p.Dropped), MaxPEX)] {
		if a.Addr().Unmap().Is4() {
			dropped = appendContact(dropped, a)
		} else if a.Addr().Is6() {
			dropped6 = appendContact(dropped6, a)
		}
	}
	// All keys of BEP 11, empty ones too: some clients miss them otherwise.
	b = append(b, 'd')
	b = appendStringBytes(appendString(b, "added"), added)
	b = appendStringBytes(appendString(b, "added.f"), flags)
	b = appendStringBytes(appendString(b, "added6"), added6)
	b = appendStringBytes(appendString(b, "added6.f"), flags6)
	b = appendStringBytes(appendString(b, "dropped"), dropped)
	b = appendStringBytes(appendString(b, "dropped6"), dropped6)
	return append(b, 'e')
}

func appendContact(b []byte, a netip.AddrPort) []byte {
	b = append(b, a.Addr().Unmap().AsSlice()...)
	return binary.BigEndian.AppendUint16(b, a.Port())
}

// ParsePEX decodes the body of a ut_pex message, which must be a dictionary, else
// the error wraps [ErrProtocol]. Of added and of dropped the first [MaxPEX]
// contacts are kept; the IPv4 ones come first. A list that is not a whole number
// of contacts is cut, missing flags are 0, contacts without a port or an address
// are left out.
func ParsePEX(body []byte) (PEX, error) {
	d, _, err := bencode.DecodeDict(body, bodyLimits)
	if err != nil {
		return PEX{}, bodyErrorf(ExtPEX, err)
	}
	var p PEX
	for _, list := range []struct {
		key  string
		size int
		keep func(i int, flags string, a netip.AddrPort)
	}{
		{"added", 4, p.keepAdded},
		{"added6", 16, p.keepAdded},
		{"dropped", 4, p.keepDropped},
		{"dropped6", 16, p.keepDropped},
	} {
		contacts, _ := bencode.Get[string](d, list.key)
		flags, _ := bencode.Get[string](d, list.key+".f")
		for i, step := 0, list.size+2; i < MaxPEX && len(contacts) >= step; i++ {
			if a, ok := contactOf(contacts[:step]); ok {
				list.keep(i, flags, a)
			}
			contacts = contacts[step:]
		}
	}
	return p, nil
}

func (p *PEX) keepAdded(i int, flags string, a netip.AddrPort) {
	if len(p.Added) == MaxPEX {
		return
	}
	c := PEXPeer{Addr: a}
	if i < len(flags) {
		c.Flags = PEXFlags(flags[i])
	}
	p.Added = append(p.Added, c)
}

func (p *PEX) keepDropped(_ int, _ string, a netip.AddrPort) {
	if len(p.Dropped) < MaxPEX {
		p.Dropped = append(p.Dropped, a)
	}
}

// contactOf decodes a compact address and port.
func contactOf(s string) (netip.AddrPort, bool) {
	b := []byte(s)
	ip, ok := netip.AddrFromSlice(b[:len(b)-2])
	port := binary.BigEndian.Uint16(b[len(b)-2:])
	ip = ip.Unmap()
	return netip.AddrPortFrom(ip, port), ok && port != 0 && !ip.IsUnspecified()
}
