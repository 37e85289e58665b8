package bencode

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Limits of the zero Limits.
const (
	DefaultDepth = 100
	DefaultItems = 3_000_000
)

// Limits bounds what Scan accepts. The zero value stands for the defaults.
type Limits struct {
	// Depth is the deepest nesting of lists and dictionaries; 0 means
	// DefaultDepth. A plain integer or string has depth 0.
	Depth int
	// Items is the greatest number of values, dictionary keys included; 0
	// means DefaultItems.
	Items int
	// Sorted refuses dictionaries whose keys are not in ascending order.
	Sorted bool
}

func (l Limits) withDefaults() Limits {
	if l.Depth == 0 {
		l.Depth = DefaultDepth
	}
	if l.Items == 0 {
		l.Items = DefaultItems
	}
	return l
}

// Causes of a *SyntaxError, for errors.Is.
var (
	ErrTruncated = errors.New("data ends inside a value")
	ErrSyntax    = errors.New("not bencode")
	ErrInteger   = errors.New("integer is not canonical or does not fit 64 bits")
	ErrLength    = errors.New("string length is not canonical or exceeds the data")
	ErrKey       = errors.New("dictionary key is not a string")
	ErrDuplicate = errors.New("duplicate dictionary key")
	ErrUnsorted  = errors.New("dictionary keys are not sorted")
	ErrDepth     = errors.New("nested too deeply")
	ErrItems     = errors.New("too many items")
	ErrTrailing  = errors.New("bytes after the value")
)

// SyntaxError describes what is wrong with bencoded data and where.
type SyntaxError struct {
	Offset int    // of the offending byte
	Path   string // keys and indices that lead to it, such as "info.files[3].length"; "" at the top
	Err    error  // one of the causes above
}

func (e *SyntaxError) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("parse bencode: byte %d: %v", e.Offset, e.Err)
	}
	return fmt.Sprintf("parse bencode: %s (byte %d): %v", e.Path, e.Offset, e.Err)
}

func (e *SyntaxError) Unwrap() error { return e.Err }

// span is a range of the input.
type span struct{ from, to int }

// frame is one open list or dictionary.
type frame struct {
	dict     bool
	unsorted bool
	keys     int // length of scanner.keys when the dictionary was opened
	index    int // of the next element, for a list
}

// scanner holds the state of one Scan. The stacks make it iterative: a nesting
// of any depth costs heap that Limits bounds, never stack.
type scanner struct {
	data  []byte
	pos   int
	items int
	lim   Limits
	open  []frame
	keys  []span // of all open dictionaries, outermost first
}

// Scan checks that data begins with one value within lim, and returns the
// offset behind that value. It allocates no more than a few bytes for each key
// of the dictionaries that are open at once. An error is a *SyntaxError.
func Scan(data []byte, lim Limits) (end int, err error) {
	s := scanner{data: data, lim: lim.withDefaults()}
	for {
		if err := s.step(); err != nil {
			return 0, err
		}
		if len(s.open) == 0 {
			return s.pos, nil
		}
	}
}

// ScanAll is Scan for data that must be one value and nothing else.
func ScanAll(data []byte, lim Limits) error {
	end, err := Scan(data, lim)
	if err == nil && end != len(data) {
		err = &SyntaxError{Offset: end, Err: ErrTrailing}
	}
	return err
}

// step consumes one token: a scalar, the opening of a container (with the
// dictionary key before it), or the end of the innermost container.
func (s *scanner) step() error {
	if n := len(s.open); n > 0 {
		f := &s.open[n-1]
		if s.pos < len(s.data) && s.data[s.pos] == 'e' {
			return s.close()
		}
		if f.dict {
			if err := s.key(f); err != nil {
				return err
			}
		} else {
			f.index++
		}
	}
	return s.value()
}

func (s *scanner) value() error {
	if err := s.count(); err != nil {
		return err
	}
	if s.pos >= len(s.data) {
		return s.fail(s.pos, ErrTruncated)
	}
	switch c := s.data[s.pos]; {
	case c == 'd' || c == 'l':
		if len(s.open) >= s.lim.Depth {
			return s.fail(s.pos, ErrDepth)
		}
		s.open = append(s.open, frame{dict: c == 'd', keys: len(s.keys)})
		s.pos++
		return nil
	case c == 'i':
		_, end, err := readInt(s.data, s.pos)
		if err != nil {
			return s.fail(s.pos, err)
		}
		s.pos = end
		return nil
	case c >= '0' && c <= '9':
		_, to, err := readString(s.data, s.pos)
		if err != nil {
			return s.fail(s.pos, err)
		}
		s.pos = to
		return nil
	default:
		return s.fail(s.pos, ErrSyntax)
	}
}

// key consumes the next key of the dictionary f. Order is checked on the way;
// a dictionary found out of order is searched for duplicates when it ends.
func (s *scanner) key(f *frame) error {
	if err := s.count(); err != nil {
		return err
	}
	if s.pos >= len(s.data) {
		return s.fail(s.pos, ErrTruncated)
	}
	if c := s.data[s.pos]; c < '0' || c > '9' {
		return s.fail(s.pos, ErrKey)
	}
	from, to, err := readString(s.data, s.pos)
	if err != nil {
		return s.fail(s.pos, err)
	}
	start := s.pos
	s.pos = to
	if !f.unsorted && len(s.keys) > f.keys {
		last := s.keys[len(s.keys)-1]
		switch bytes.Compare(s.data[last.from:last.to], s.data[from:to]) {
		case 0:
			return s.fail(start, ErrDuplicate)
		case 1:
			if s.lim.Sorted {
				return s.fail(start, ErrUnsorted)
			}
			f.unsorted = true
		}
	}
	s.keys = append(s.keys, span{from, to})
	return nil
}

// close ends the innermost container.
func (s *scanner) close() error {
	f := s.open[len(s.open)-1]
	if f.unsorted {
		keys := s.keys[f.keys:]
		slices.SortFunc(keys, func(a, b span) int {
			c := bytes.Compare(s.data[a.from:a.to], s.data[b.from:b.to])
			return cmp.Or(c, cmp.Compare(a.from, b.from))
		})
		for i := 1; i < len(keys); i++ {
			if bytes.Equal(s.data[keys[i-1].from:keys[i-1].to], s.data[keys[i].from:keys[i].to]) {
				at := keys[i]
				s.keys = append(s.keys[:f.keys], at) // so that the path names it
				return s.fail(at.from, ErrDuplicate)
			}
		}
	}
	s.keys = s.keys[:f.keys]
	s.open = s.open[:len(s.open)-1]
	s.pos++
	return nil
}

func (s *scanner) count() error {
	if s.items++; s.items > s.lim.Items {
		return s.fail(s.pos, ErrItems)
	}
	return nil
}

func (s *scanner) fail(at int, cause error) error {
	return &SyntaxError{Offset: at, Path: s.path(), Err: cause}
}

// path names the place of the value being read. It shows at most the outer 8
// levels: an error is one line, also for a nesting of a hundred.
func (s *scanner) path() string {
	const show = 8
	var b strings.Builder
	for i, f := range s.open {
		if i == show {
			b.WriteString("…")
			break
		}
		if !f.dict {
			fmt.Fprintf(&b, "[%d]", max(f.index-1, 0))
			continue
		}
		next := len(s.keys)
		if i+1 < len(s.open) {
			next = s.open[i+1].keys
		}
		if next == f.keys {
			continue // before its first key
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		k := s.keys[next-1]
		b.WriteString(printKey(s.data[k.from:k.to]))
	}
	return b.String()
}

// printKey shows a key in an error: as it is if it is a plain word, else quoted, and never long.
func printKey(k []byte) string {
	const limit = 40
	cut := len(k) > limit
	if cut {
		k = k[:limit]
	}
	out := string(k)
	for _, c := range k {
		if c < ' ' || c >= 0x7f || c == '"' {
			out = strconv.QuoteToASCII(out)
			break
		}
	}
	if cut {
		out += "…"
	}
	return out
}

// readInt reads the integer that begins (with 'i') at data[pos].
func readInt(data []byte, pos int) (v int64, end int, err error) {
	p := pos + 1
	neg := p < len(data) && data[p] == '-'
	if neg {
		p++
	}
	first := p
	var u uint64
	for p < len(data) && data[p] >= '0' && data[p] <= '9' {
		if p-first >= 19 { // no int64 has more digits
			return 0, 0, ErrInteger
		}
		u = u*10 + uint64(data[p]-'0')
		p++
	}
	switch {
	case p >= len(data):
		return 0, 0, ErrTruncated
	case data[p] != 'e', p == first, data[first] == '0' && (neg || p > first+1):
		return 0, 0, ErrInteger
	case neg && u > 1<<63, !neg && u > 1<<63-1:
		return 0, 0, ErrInteger
	case neg:
		return -int64(u), p + 1, nil
	}
	return int64(u), p + 1, nil
}

// readString reads the string whose length begins at data[pos], and returns
// the range of its bytes.
func readString(data []byte, pos int) (from, to int, err error) {
	p, n := pos, 0
	for p < len(data) && data[p] >= '0' && data[p] <= '9' {
		if n > len(data)/10 { // the next digit makes it more than the data
			return 0, 0, ErrLength
		}
		n = n*10 + int(data[p]-'0')
		p++
	}
	switch {
	case p >= len(data):
		return 0, 0, ErrTruncated
	case data[p] != ':', p == pos, data[pos] == '0' && p > pos+1:
		return 0, 0, ErrLength
	case n > len(data)-p-1:
		return 0, 0, ErrLength
	}
	return p + 1, p + 1 + n, nil
}
