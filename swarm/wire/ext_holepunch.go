package wire

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// HolepunchType is the kind of an ut_holepunch message (BEP 55).
type HolepunchType uint8

// The kinds.
const (
	HolepunchRendezvous HolepunchType = 0 // to a relay: bring me together with Addr
	HolepunchConnect    HolepunchType = 1 // from a relay: connect to Addr by uTP, now
	HolepunchFailed     HolepunchType = 2 // from a relay: that cannot be done, for Err
)

// HolepunchError is why a relay does not bring two peers together.
type HolepunchError uint32

// The codes of BEP 55.
const (
	HolepunchNoSuchPeer   HolepunchError = 1 // the address is none
	HolepunchNotConnected HolepunchError = 2 // the relay is not connected to it
	HolepunchNoSupport    HolepunchError = 3 // it does not know the extension
	HolepunchNoSelf       HolepunchError = 4 // it is the relay's own
)

// String says it in words, for logs.
func (e HolepunchError) String() string {
	switch e {
	case HolepunchNoSuchPeer:
		return "no such peer"
	case HolepunchNotConnected:
		return "the relay is not connected to it"
	case HolepunchNoSupport:
		return "the peer does not know the extension"
	case HolepunchNoSelf:
		return "that is the relay itself"
	}
	return fmt.Sprintf("error %d", uint32(e))
}

// Holepunch is the body of an ut_holepunch message (BEP 55). Its address is a stranger's word: it
// is not checked whether it may be contacted.
type Holepunch struct {
	Type HolepunchType
	Addr netip.AddrPort
	Err  HolepunchError // with HolepunchFailed alone
}

// Append appends the body. The address must be valid.
func (h *Holepunch) Append(b []byte) []byte {
	family := byte(0)
	if h.Addr.Addr().Unmap().Is6() {
		family = 1
	}
	b = append(b, byte(h.Type), family)
	b = appendContact(b, h.Addr)
	return binary.BigEndian.AppendUint32(b, uint32(h.Err))
}

// ParseHolepunch decodes the body of an ut_holepunch message. Errors wrap [ErrProtocol]. The error
// code may be missing if there is none: libtorrent leaves it out. Types that BEP 55 does not know,
// and addresses that are none, are handed out as they came; bytes behind the message are ignored.
func ParseHolepunch(body []byte) (Holepunch, error) {
	if len(body) < 2 {
		return Holepunch{}, bodyErrorf(ExtHolepunch, fmt.Errorf("length %d", len(body)))
	}
	h := Holepunch{Type: HolepunchType(body[0])}
	size := 4
	switch body[1] {
	case 0:
	case 1:
		size = 16
	default:
		return Holepunch{}, bodyErrorf(ExtHolepunch, fmt.Errorf("address type %d", body[1]))
	}
	rest := body[2:]
	if len(rest) < size+2 {
		return Holepunch{}, bodyErrorf(ExtHolepunch, fmt.Errorf("length %d, want at least %d", len(body), 2+size+2))
	}
	ip, _ := netip.AddrFromSlice(rest[:size])
	h.Addr = netip.AddrPortFrom(ip, binary.BigEndian.Uint16(rest[size:]))
	if rest = rest[size+2:]; len(rest) >= 4 && h.Type == HolepunchFailed {
		h.Err = HolepunchError(binary.BigEndian.Uint32(rest))
	}
	return h, nil
}
