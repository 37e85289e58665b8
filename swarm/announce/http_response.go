package announce

import (
	"bytes"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"torrentfs/metainfo/bencode"
)

// responseLimits bound an answer's structure: a dictionary of a list of
// dictionaries, or of one of dictionaries (scrape), with room for extensions.
var responseLimits = bencode.Limits{Depth: 10, Items: 200_000}

// maxRetry bounds what a tracker may say about the future, so that no number
// overflows a time.Duration. Policy clamps much closer.
const maxRetry = 365 * 24 * time.Hour

// decodeBody decodes the dictionary that a tracker answered, or the refusal in
// it. What files and scripts put around it is passed over: a byte order mark and
// white space before it, line ends and then anything after it, such as a comment.
func decodeBody(body []byte) (bencode.Dict, error) {
	body = bytes.TrimLeft(bytes.TrimPrefix(body, []byte("\ufeff")), "\x00\t\v\f\r\n ")
	d, n, err := bencode.DecodeDict(body, responseLimits)
	if err != nil {
		if len(body) > 0 && body[0] == '<' {
			return nil, fmt.Errorf("%w: it is a web page", ErrResponse)
		}
		return nil, fmt.Errorf("%w: %w", ErrResponse, err)
	}
	if rest := body[n:]; len(rest) > 0 && !bytes.ContainsAny(rest[:1], "\x00\t\v\f\r\n <") {
		return nil, fmt.Errorf("%w: bytes after the dictionary", ErrResponse)
	}
	if reason, ok := bencode.Get[string](d, "failure reason"); ok {
		return nil, failure(reason, d["retry in"])
	}
	return d, nil
}

// failure is the error for a refusal; retry is the "retry in" of BEP 31:
// minutes, as a string in the BEP's examples and as an integer in its text.
func failure(reason string, retry any) *FailureError {
	e := &FailureError{Reason: printable(reason)}
	switch v := retry.(type) {
	case int64:
		e.RetryIn = units(v, time.Minute)
	case string:
		if v == "never" {
			e.Never = true
		} else if n, err := strconv.ParseInt(v, 10, 64); err == nil {
			e.RetryIn = units(n, time.Minute)
		}
	}
	return e
}

// units returns n units of time, within 0 and maxRetry.
func units(n int64, unit time.Duration) time.Duration {
	return time.Duration(min(max(n, 0), int64(maxRetry/unit))) * unit
}

// decodeHTTP decodes the body of an announce's answer: BEP 3, 7, 23 and 24,
// peers in either form.
func decodeHTTP(body []byte) (Response, error) {
	d, err := decodeBody(body)
	if err != nil {
		return Response{}, err
	}
	r := Response{Seeders: count(d, "complete"), Leechers: count(d, "incomplete")}
	r.Interval, r.MinInterval = seconds(d, "interval"), seconds(d, "min interval")
	if v, ok := bencode.Get[string](d, "tracker id"); ok && len(v) <= maxID {
		r.ID = v
	}
	if v, ok := bencode.Get[string](d, "warning message"); ok {
		r.Warning = printable(v)
	}
	if v, ok := bencode.Get[string](d, "external ip"); ok {
		if addr, ok := netip.AddrFromSlice([]byte(v)); ok {
			r.ExternalIP = addr.Unmap()
		}
	}
	if r.Peers, err = decodePeers(d); err != nil {
		return Response{}, err
	}
	return r, nil
}

// seconds returns a number of seconds, 0 if there is none. Some trackers write it as a string.
func seconds(d bencode.Dict, key string) time.Duration {
	switch v := d[key].(type) {
	case int64:
		return units(v, time.Second)
	case string:
		if n, err := strconv.ParseInt(v, 10, 64); err == nil {
			return units(n, time.Second)
		}
	}
	return 0
}

// count returns a number of peers, -1 if the tracker gave none that makes sense.
func count(d bencode.Dict, key string) int {
	v, err := d.IntIn(key, 0, 1<<31-1)
	if err != nil {
		return -1
	}
	return int(v)
}

// decodePeers reads "peers" in the compact form or as a list of dictionaries, as the tracker chose,
// and "peers6". An answer with neither, and without an interval, is not a tracker's.
func decodePeers(d bencode.Dict) (peers []netip.AddrPort, err error) {
	switch v := d["peers"].(type) {
	case nil:
		if !d.Has("peers6") && !d.Has("interval") {
			return nil, fmt.Errorf("%w: neither peers nor interval", ErrResponse)
		}
	case string:
		peers = appendCompact(peers, []byte(v), 4)
	case []any:
		for _, e := range v {
			if p, ok := e.(map[string]any); ok {
				peers = appendPeerDict(peers, p)
			}
		}
	default:
		return nil, fmt.Errorf("%w: peers of an unknown form", ErrResponse)
	}
	if v, ok := bencode.Get[string](d, "peers6"); ok {
		peers = appendCompact(peers, []byte(v), 16)
	}
	return peers, nil
}

// appendPeerDict appends the peer of a dictionary with ip and port. BEP 3 would
// allow a host name there; none is looked up, so that no tracker can make its
// peers send queries.
func appendPeerDict(peers []netip.AddrPort, d bencode.Dict) []netip.AddrPort {
	ip, err := d.String("ip")
	if err != nil || len(ip) > 45 {
		return peers
	}
	port, err := d.IntIn("port", 1, 65535)
	if err != nil {
		return peers
	}
	addr, err := netip.ParseAddr(ip)
	if err != nil || addr.Zone() != "" {
		return peers
	}
	return appendPeer(peers, addr, uint16(port))
}

// decodeScrape decodes a scrape's answer (BEP 48). Info-hashes that the tracker
// does not mention have no peers.
func decodeScrape(body []byte, hashes [][20]byte) ([]ScrapeResult, error) {
	d, err := decodeBody(body)
	if err != nil {
		return nil, err
	}
	files, err := d.Dict("files")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrResponse, err)
	}
	res := make([]ScrapeResult, len(hashes))
	for i, h := range hashes {
		f, err := files.Dict(string(h[:]))
		if err != nil {
			continue
		}
		res[i] = ScrapeResult{
			Seeders:   max(count(f, "complete"), 0),
			Leechers:  max(count(f, "incomplete"), 0),
			Completed: max(count(f, "downloaded"), 0),
		}
	}
	return res, nil
}
