package tracker

import (
	"encoding/binary"
	"math"
	"net/netip"
	"time"
)

// BEP 15.
const (
	protocolID = 0x41727101980

	actionConnect  = 0
	actionAnnounce = 1
	actionScrape   = 2
	actionError    = 3

	connectLen  = 16
	announceLen = 98

	maxReply = 1400 // bytes: fits a packet on any path that matters
)

// handlePacket appends the answer to a packet, or nothing if there is to be none. A client that
// cannot show a connection id sent to its address gets, for a connect request of 16 bytes, 16
// bytes: nothing here amplifies.
func (s *Server) handlePacket(b []byte, packet []byte, from netip.AddrPort, r *reply) []byte {
	from = netip.AddrPortFrom(from.Addr().Unmap().WithZone(""), from.Port())
	if len(packet) < connectLen || !from.IsValid() || from.Port() == 0 {
		s.totals.ignored.Add(1)
		return b
	}
	conn := binary.BigEndian.Uint64(packet)
	action := binary.BigEndian.Uint32(packet[8:])
	tid := binary.BigEndian.Uint32(packet[12:])
	now := s.elapsed()
	if action == actionConnect {
		if conn != protocolID {
			s.totals.ignored.Add(1)
			return b
		}
		s.totals.connects.Add(1)
		b = appendHeader(b, actionConnect, tid)
		return binary.BigEndian.AppendUint64(b, s.conns.issue(from.Addr(), now))
	}
	if !s.conns.valid(conn, from.Addr(), now) {
		s.totals.ignored.Add(1)
		return b
	}
	var err error
	start := len(b)
	switch action {
	case actionAnnounce:
		b, err = s.announceUDP(b, packet, tid, from, r)
	case actionScrape:
		b, err = s.scrapeUDP(b, packet[16:], tid)
	default:
		err = errQuery
	}
	if err != nil {
		s.totals.refused.Add(1)
		return append(appendHeader(b[:start], actionError, tid), err.Error()...)
	}
	return b
}

func appendHeader(b []byte, action, tid uint32) []byte {
	b = binary.BigEndian.AppendUint32(b, action)
	return binary.BigEndian.AppendUint32(b, tid)
}

// announceUDP appends the answer to an announce: peers of the family that the
// packet came over, as many as fit. What follows the fixed fields (BEP 41) says
// nothing that this tracker needs.
func (s *Server) announceUDP(b, packet []byte, tid uint32, from netip.AddrPort, r *reply) ([]byte, error) {
	a, err := parseUDPAnnounce(packet, from.Addr())
	if err != nil {
		return b, err
	}
	entry := 6
	if from.Addr().Is6() {
		entry = 18
	}
	if a.numWant < 0 {
		a.numWant = s.cfg.numWant
	}
	a.numWant = min(a.numWant, (maxReply-20)/entry)
	if err := s.announce(&a, r, false); err != nil {
		return b, err
	}
	s.totals.announcesUDP.Add(1)
	b = appendHeader(b, actionAnnounce, tid)
	b = binary.BigEndian.AppendUint32(b, uint32(min(s.cfg.Interval/time.Second, math.MaxInt32)))
	b = binary.BigEndian.AppendUint32(b, uint32(r.leechers))
	b = binary.BigEndian.AppendUint32(b, uint32(r.seeders))
	return appendContacts(b, r.peers[familyOf(from.Addr())]), nil
}

// parseUDPAnnounce reads an announce request. Its address field is ignored, as
// "ip" is over HTTP.
func parseUDPAnnounce(p []byte, from netip.Addr) (announcement, error) {
	if len(p) < announceLen {
		return announcement{}, errQuery
	}
	a := announcement{
		hash:    [20]byte(p[16:36]),
		id:      [20]byte(p[36:56]),
		left:    int64(min(binary.BigEndian.Uint64(p[64:]), math.MaxInt64)),
		event:   event(binary.BigEndian.Uint32(p[80:])),
		numWant: int(int32(binary.BigEndian.Uint32(p[92:]))),
		addr:    netip.AddrPortFrom(from, binary.BigEndian.Uint16(p[96:])),
	}
	switch {
	case a.event > eventStopped:
		a.event = eventNone // "paused" (BEP 21) has no number here
	case a.event == eventStopped:
		return a, nil
	}
	if a.addr.Port() == 0 {
		return a, errPort
	}
	return a, nil
}

// scrapeUDP appends the answer to a scrape: zeros for unknown torrents, since
// the answer has no other way to say which is which.
func (s *Server) scrapeUDP(b, hashes []byte, tid uint32) ([]byte, error) {
	n := len(hashes) / 20
	if n == 0 || n > maxScrape {
		return b, errScrape
	}
	s.totals.scrapes.Add(1)
	b = appendHeader(b, actionScrape, tid)
	for i := range n {
		c, _ := s.scrape([20]byte(hashes[20*i:]))
		b = binary.BigEndian.AppendUint32(b, uint32(c.seeders))
		b = binary.BigEndian.AppendUint32(b, uint32(c.completed))
		b = binary.BigEndian.AppendUint32(b, uint32(c.leechers))
	}
	return b, nil
}
