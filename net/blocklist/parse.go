package blocklist

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/netip"
)

var (
	// ErrFormat: not a list in one of the formats.
	ErrFormat = errors.New("not a blocklist")
	// ErrLimit: the list exceeds one of the Limits.
	ErrLimit = errors.New("blocklist exceeds the limit")
)

// Limits bounds what Parse accepts. A zero field stands for its default.
type Limits struct {
	Bytes  int64 // after decompression; 0 means 256 MiB
	Ranges int   // 0 means 8 million
}

// Report counts what was found besides ranges.
type Report struct {
	Lines   int    // with an entry or an attempt at one
	Skipped int    // lines that were not understood
	First   string // the first of them, for the user, shortened; a stranger's text
}

const (
	maxLine    = 64 << 10 // bytes; a longer one is skipped
	maxQuote   = 80       // bytes of Report.First
	maxBlocked = 127      // eMule blocks entries of levels up to this
)

// Parse reads a list, by itself or compressed with gzip. Lines that are not
// understood are skipped and reported; a list of nothing else is ErrFormat.
func Parse(r io.Reader, lim Limits) (*List, Report, error) {
	if lim.Bytes <= 0 {
		lim.Bytes = 256 << 20
	}
	if lim.Ranges <= 0 {
		lim.Ranges = 8_000_000
	}
	in := bufio.NewReaderSize(r, maxLine)
	magic, _ := in.Peek(4)
	switch {
	case bytes.HasPrefix(magic, []byte("\x1f\x8b")):
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, Report{}, fmt.Errorf("read blocklist: %w: %w", ErrFormat, err)
		}
		in = bufio.NewReaderSize(&capped{z, lim.Bytes}, maxLine)
	case bytes.HasPrefix(magic, []byte("PK\x03\x04")):
		return nil, Report{}, fmt.Errorf("read blocklist: a zip archive, to be unpacked first: %w", ErrFormat)
	case bytes.Equal(magic, []byte("\xff\xff\xff\xff")):
		return nil, Report{}, fmt.Errorf("read blocklist: PeerGuardian's binary format: %w", ErrFormat)
	default:
		in = bufio.NewReaderSize(&capped{in, lim.Bytes}, maxLine)
	}
	return parseLines(in, lim)
}

// capped ends in ErrLimit; io.LimitedReader would report io.EOF.
type capped struct {
	r    io.Reader
	left int64
}

func (c *capped) Read(p []byte) (int, error) {
	if int64(len(p)) > c.left+1 {
		p = p[:c.left+1]
	}
	n, err := c.r.Read(p)
	if int64(n) > c.left {
		return 0, ErrLimit
	}
	c.left -= int64(n)
	return n, err
}

func parseLines(in *bufio.Reader, lim Limits) (*List, Report, error) {
	var (
		l   = new(List)
		rep Report
	)
	for {
		line, err := in.ReadSlice('\n')
		long := errors.Is(err, bufio.ErrBufferFull)
		quote := line
		for errors.Is(err, bufio.ErrBufferFull) {
			quote = bytes.Clone(quote[:min(len(quote), maxQuote)])
			_, err = in.ReadSlice('\n')
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, rep, fmt.Errorf("read blocklist: %w", err)
		}
		if err := l.line(quote, long, &rep, lim); err != nil {
			return nil, rep, err
		}
		if err != nil {
			break
		}
	}
	if len(l.v4)+len(l.v6) == 0 && rep.Skipped > 0 {
		return nil, rep, fmt.Errorf("read blocklist: no line of %d is an entry: %w", rep.Lines, ErrFormat)
	}
	l.normalise()
	return l, rep, nil
}

// line adds the entry of a line. The error is that there are too many.
func (l *List) line(line []byte, long bool, rep *Report, lim Limits) error {
	line = bytes.TrimSpace(bytes.TrimPrefix(line, []byte("\xef\xbb\xbf")))
	if len(line) == 0 || line[0] == '#' || line[0] == ';' || bytes.HasPrefix(line, []byte("//")) {
		return nil
	}
	rep.Lines++
	first, last, what := parseEntry(line)
	switch {
	case long || what == malformed:
		if rep.Skipped++; rep.Skipped == 1 {
			rep.First = string(line[:min(len(line), maxQuote)])
		}
	case what == blocked:
		if len(l.v4)+len(l.v6) >= lim.Ranges {
			return fmt.Errorf("read blocklist: more than %d ranges: %w", lim.Ranges, ErrLimit)
		}
		l.add(first, last)
	}
	return nil
}

type verdict uint8

const (
	malformed verdict = iota
	blocked
	allowed // an entry of eMule's that is not to be blocked
)

// parseEntry reads a line in any of the formats.
func parseEntry(line []byte) (first, last netip.Addr, what verdict) {
	if first, last, ok := parseNetwork(line); ok {
		return first, last, blocked
	}
	dash := bytes.LastIndexByte(line, '-')
	if comma := bytes.IndexByte(line, ','); comma >= 0 {
		// DAT: the range comes first. P2P: the comma belongs to the description.
		if at := bytes.IndexByte(line[:comma], '-'); at >= 0 {
			first, ok := parseAddr(line[:at])
			last, ok2 := parseAddr(line[at+1 : comma])
			if ok && ok2 && ordered(first, last) {
				return first, last, level(line[comma+1:])
			}
		}
	}
	if dash < 0 {
		// "description:address"
		if colon := bytes.LastIndexByte(line, ':'); colon >= 0 {
			if a, b, ok := parseNetwork(bytes.TrimSpace(line[colon+1:])); ok {
				return a, b, blocked
			}
		}
		return first, last, malformed
	}
	last, ok := parseAddr(line[dash+1:])
	if !ok {
		return first, last, malformed
	}
	// What is before the dash ends with an address. Where it begins is clear
	// for IPv4, which has no colons. For IPv6 the description may look like a
	// part of it: then the smallest range is meant.
	head := line[:dash]
	if last.Is4() {
		first, ok = parseAddr(head[bytes.LastIndexByte(head, ':')+1:])
		if ok && ordered(first, last) {
			return first, last, blocked
		}
		return first, last, malformed
	}
	for {
		if a, ok := parseAddr(head); ok && ordered(a, last) && (what == malformed || a.Compare(first) > 0) {
			first, what = a, blocked
		}
		colon := bytes.IndexByte(head, ':')
		if colon < 0 {
			return first, last, what
		}
		head = head[colon+1:]
	}
}

// level reads the level behind a range of eMule's.
func level(b []byte) verdict {
	if comma := bytes.IndexByte(b, ','); comma >= 0 {
		b = b[:comma]
	}
	b = bytes.TrimSpace(b)
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' || n > 1000 {
			return malformed
		}
		n = 10*n + int(c-'0')
	}
	if n > maxBlocked {
		return allowed
	}
	return blocked
}

func ordered(first, last netip.Addr) bool {
	return first.Is4() == last.Is4() && first.Compare(last) <= 0
}

// parseNetwork reads an address or "address/bits".
func parseNetwork(b []byte) (first, last netip.Addr, ok bool) {
	slash := bytes.IndexByte(b, '/')
	if slash < 0 {
		first, ok = parseAddr(b)
		return first, first, ok
	}
	first, ok = parseAddr(b[:slash])
	bits := 0
	digits := bytes.TrimSpace(b[slash+1:])
	for _, c := range digits {
		if c < '0' || c > '9' || bits > 128 {
			return first, last, false
		}
		bits = 10*bits + int(c-'0')
	}
	if !ok || len(digits) == 0 || bits > first.BitLen() {
		return first, last, false
	}
	raw := first.AsSlice()
	for i := range raw {
		host := min(max(bits-8*i, 0), 8) // bits of this byte that belong to the network
		raw[i] &= ^byte(0xff >> host)
	}
	first, _ = netip.AddrFromSlice(raw)
	for i := range raw {
		raw[i] |= byte(0xff >> min(max(bits-8*i, 0), 8))
	}
	last, _ = netip.AddrFromSlice(raw)
	return first, last, true
}

// parseAddr reads an address with space around it. IPv4 octets may have
// leading zeros, which eMule's lists are full of; they are decimal.
func parseAddr(b []byte) (netip.Addr, bool) {
	b = bytes.TrimSpace(b)
	if a, ok := parse4(b); ok {
		return a, true
	}
	if bytes.IndexByte(b, ':') < 0 || len(b) > len("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255") {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(string(b))
	if err != nil || a.Zone() != "" {
		return netip.Addr{}, false
	}
	return a.Unmap(), true
}

func parse4(b []byte) (netip.Addr, bool) {
	var out [4]byte
	n, digits, octet := 0, 0, 0
	for _, c := range b {
		switch {
		case '0' <= c && c <= '9' && digits < 3:
			octet = 10*octet + int(c-'0')
			digits++
		case c == '.' && digits > 0 && n < 3 && octet <= 255:
			out[n] = byte(octet)
			n, digits, octet = n+1, 0, 0
		default:
			return netip.Addr{}, false
		}
	}
	if n != 3 || digits == 0 || octet > 255 {
		return netip.Addr{}, false
	}
	out[3] = byte(octet)
	return netip.AddrFrom4(out), true
}
