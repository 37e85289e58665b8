package announce

import (
	"encoding/binary"
	"fmt"
	"time"
)

// Actions of BEP 15.
const (
	actionConnect  = 0
	actionAnnounce = 1
	actionScrape   = 2
	actionError    = 3
)

const (
	protocolID = 0x41727101980 // magic of a connect request

	maxScrape = 74 // info-hashes of one scrape (BEP 15)

	optionURLData = 2    // BEP 41
	maxURLData    = 1024 // bytes of path and query sent; a longer URL is cut
)

// transaction is the header that a request and its reply share.
type transaction struct {
	action uint32
	id     uint32
}

// appendConnect appends a connect request.
func appendConnect(b []byte, tid uint32) []byte {
	b = binary.BigEndian.AppendUint64(b, protocolID)
	b = binary.BigEndian.AppendUint32(b, actionConnect)
	return binary.BigEndian.AppendUint32(b, tid)
}

// appendAnnounce appends an announce request with urlData, the tracker URL's
// path and query, as an option behind it (BEP 41). The address field stays 0:
// the tracker is to take the one that the packet came from.
func appendAnnounce(b []byte, conn uint64, tid uint32, r Request, urlData string) []byte {
	b = binary.BigEndian.AppendUint64(b, conn)
	b = binary.BigEndian.AppendUint32(b, actionAnnounce)
	b = binary.BigEndian.AppendUint32(b, tid)
	b = append(b, r.InfoHash[:]...)
	b = append(b, r.PeerID[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(max(r.Stats.Downloaded, 0)))
	b = binary.BigEndian.AppendUint64(b, uint64(max(r.Stats.Left, 0)))
	b = binary.BigEndian.AppendUint64(b, uint64(max(r.Stats.Uploaded, 0)))
	b = binary.BigEndian.AppendUint32(b, uint32(r.Event))
	b = binary.BigEndian.AppendUint32(b, 0)
	b = binary.BigEndian.AppendUint32(b, r.Key)
	b = binary.BigEndian.AppendUint32(b, uint32(int32(max(r.NumWant, -1))))
	b = binary.BigEndian.AppendUint16(b, r.Port)
	return appendURLData(b, urlData)
}

// appendURLData appends s as URLData options of at most 255 bytes each.
func appendURLData(b []byte, s string) []byte {
	for s = s[:min(len(s), maxURLData)]; s != ""; {
		n := min(len(s), 255)
		b = append(b, optionURLData, byte(n))
		b = append(b, s[:n]...)
		s = s[n:]
	}
	return b
}

// appendScrape appends a scrape request.
func appendScrape(b []byte, conn uint64, tid uint32, hashes [][20]byte) []byte {
	b = binary.BigEndian.AppendUint64(b, conn)
	b = binary.BigEndian.AppendUint32(b, actionScrape)
	b = binary.BigEndian.AppendUint32(b, tid)
	for _, h := range hashes {
		b = append(b, h[:]...)
	}
	return b
}

// splitReply splits a packet into its header and what follows.
func splitReply(b []byte) (transaction, []byte, error) {
	if len(b) < 8 {
		return transaction{}, nil, fmt.Errorf("%w: packet of %d bytes", ErrResponse, len(b))
	}
	return transaction{
		action: binary.BigEndian.Uint32(b),
		id:     binary.BigEndian.Uint32(b[4:]),
	}, b[8:], nil
}

// decodeConnect returns the connection id of a connect reply's body.
func decodeConnect(b []byte) (uint64, error) {
	if len(b) < 8 {
		return 0, fmt.Errorf("%w: connect reply of %d bytes", ErrResponse, len(b))
	}
	return binary.BigEndian.Uint64(b), nil
}

// decodeUDPAnnounce decodes an announce reply's body. Nothing in it tells whether the peers are
// IPv4 or IPv6: the packet's own family does.
func decodeUDPAnnounce(b []byte, ipv6 bool) (Response, error) {
	if len(b) < 12 {
		return Response{}, fmt.Errorf("%w: announce reply of %d bytes", ErrResponse, len(b))
	}
	addrLen := 4
	if ipv6 {
		addrLen = 16
	}
	return Response{
		Interval: units(int64(binary.BigEndian.Uint32(b)), time.Second),
		Leechers: udpCount(b[4:]),
		Seeders:  udpCount(b[8:]),
		Peers:    appendCompact(nil, b[12:], addrLen),
	}, nil
}

func udpCount(b []byte) int { return int(min(binary.BigEndian.Uint32(b), 1<<31-1)) }

// decodeUDPScrape decodes a scrape reply's body, which must cover n info-hashes.
func decodeUDPScrape(b []byte, n int) ([]ScrapeResult, error) {
	if n > maxScrape || len(b) < 12*n {
		return nil, fmt.Errorf("%w: scrape reply of %d bytes for %d info-hashes", ErrResponse, len(b), n)
	}
	res := make([]ScrapeResult, n)
	for i := range res {
		e := b[12*i:]
		res[i] = ScrapeResult{Seeders: udpCount(e), Completed: udpCount(e[4:]), Leechers: udpCount(e[8:])}
	}
	return res, nil
}
