package tracker

import (
	"math"
	"net/netip"
	"strconv"
	"strings"
)

const (
	maxQuery  = 8 << 10 // bytes
	maxScrape = 74      // info-hashes of one scrape, as over UDP (BEP 15)
)

// Refusals of malformed requests.
const (
	errQuery    = refusal("malformed query")
	errHash     = refusal("info_hash must be given once, with 20 bytes")
	errID       = refusal("peer_id must have 20 bytes")
	errPort     = refusal("port must be 1 to 65535")
	errLeft     = refusal("left must be a number of bytes")
	errEvent    = refusal("unknown event")
	errWant     = refusal("numwant must be a number")
	errScrape   = refusal("scrape needs 1 to 74 info_hash parameters of 20 bytes")
	errNoSource = refusal("source address not usable")
)

// httpAnnounce is an announce's query.
type httpAnnounce struct {
	announcement
	compact bool // BEP 23; the default, compact=0 asks for dictionaries
	noID    bool // no_peer_id
}

// eachParam calls fn for the parameters of a query, in order, percent-decoded.
// The value is valid during the call. It allocates nothing besides one buffer.
func eachParam(query string, fn func(key string, value []byte) error) error {
	if len(query) > maxQuery {
		return errQuery
	}
	buf := make([]byte, 0, 64)
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		if pair == "" {
			continue
		}
		key, value, _ := strings.Cut(pair, "=")
		var ok bool
		if buf, ok = unescape(buf[:0], value); !ok {
			return errQuery
		}
		if err := fn(key, buf); err != nil {
			return err
		}
	}
	return nil
}

// unescape appends the percent-decoded s. A plus stands for a space, as in any
// form: a client that means a plus has to escape it.
func unescape(dst []byte, s string) ([]byte, bool) {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '%':
			if i+2 >= len(s) {
				return dst, false
			}
			hi, ok1 := unhex(s[i+1])
			lo, ok2 := unhex(s[i+2])
			if !ok1 || !ok2 {
				return dst, false
			}
			dst = append(dst, hi<<4|lo)
			i += 2
		case '+':
			dst = append(dst, ' ')
		default:
			dst = append(dst, c)
		}
	}
	return dst, true
}

func unhex(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// parseAnnounce reads an announce's query as it came from an address. Unknown
// parameters are ignored; "ip" is among them on purpose.
func parseAnnounce(query string, from netip.Addr) (httpAnnounce, error) {
	a := httpAnnounce{compact: true}
	a.numWant, a.left = -1, math.MaxInt64
	var hashes, ids int
	var port uint64
	err := eachParam(query, func(key string, v []byte) (err error) {
		switch key {
		case "info_hash":
			hashes++
			if copy(a.hash[:], v) != 20 || len(v) != 20 || hashes > 1 {
				return errHash
			}
		case "peer_id":
			ids++
			if copy(a.id[:], v) != 20 || len(v) != 20 {
				return errID
			}
		case "port":
			if port, err = strconv.ParseUint(string(v), 10, 16); err != nil {
				return errPort
			}
		case "left":
			if a.left, err = parseLeft(string(v)); err != nil {
				return err
			}
		case "event":
			a.event, err = parseEvent(string(v))
			return err
		case "numwant":
			return a.parseNumWant(string(v))
		case "compact":
			a.compact = string(v) != "0"
		case "no_peer_id":
			a.noID = string(v) == "1"
		}
		return nil
	})
	switch {
	case err != nil:
		return a, err
	case hashes == 0:
		return a, errHash
	case ids == 0:
		return a, errID
	case port == 0 && a.event != eventStopped:
		return a, errPort
	}
	a.addr = netip.AddrPortFrom(from.Unmap().WithZone(""), uint16(port))
	return a, nil
}

// parseLeft reads the bytes left. The largest number of 64 bits, signed (-1) or
// not, is how some clients say that they do not know.
func parseLeft(s string) (int64, error) {
	if s == "-1" {
		return math.MaxInt64, nil
	}
	v, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, errLeft
	}
	return int64(min(v, math.MaxInt64)), nil
}

func parseEvent(s string) (event, error) {
	switch s {
	case "", "empty", "none", "paused": // paused: a partial seed, which is a downloader (BEP 21)
		return eventNone, nil
	case "started":
		return eventStarted, nil
	case "completed":
		return eventCompleted, nil
	case "stopped":
		return eventStopped, nil
	}
	return 0, errEvent
}

func (a *httpAnnounce) parseNumWant(s string) error {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil {
		return errWant
	}
	a.numWant = int(max(n, -1))
	return nil
}

// parseScrape reads a scrape's query. The whole tracker is not on offer: that
// is all info-hashes for anyone who asks.
func parseScrape(query string) ([][20]byte, error) {
	var hashes [][20]byte
	err := eachParam(query, func(key string, v []byte) error {
		if key != "info_hash" {
			return nil
		}
		if len(v) != 20 || len(hashes) == maxScrape {
			return errScrape
		}
		hashes = append(hashes, [20]byte(v))
		return nil
	})
	if err == nil && len(hashes) == 0 {
		err = errScrape
	}
	return hashes, err
}
