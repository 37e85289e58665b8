package metainfo

import (
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const (
	maxMagnet     = 1 << 20 // bytes of a magnet link
	maxSelections = 4096    // ranges in so=
	btih          = "urn:btih:"
	btmh          = "urn:btmh:"
	sha256Tag     = "1220" // multihash: SHA-256, 32 bytes
)

// ErrMagnet is wrapped by all errors of ParseMagnet.
var ErrMagnet = errors.New("no usable magnet link")

// Magnet is a magnet link: the identity of a torrent, and hints (BEP 9). Name
// is as the link spells it: a stranger's text, to be made safe before it is
// used.
type Magnet struct {
	Hash     InfoHash     // at least one of the two
	Name     string       // dn
	Trackers []string     // tr, without duplicates
	WebSeeds []string     // ws
	Sources  []string     // xs that are URLs: of the .torrent, not checked
	Peers    []string     // x.pe, as "host:port"; not resolved, not checked
	Select   []IndexRange // so (BEP 53); none means all files
}

// IndexRange is the files First to Last, both included, in torrent order.
type IndexRange struct{ First, Last int }

// Selected reports whether the link selects the file with the given index.
func (m *Magnet) Selected(file int) bool {
	return len(m.Select) == 0 || slices.ContainsFunc(m.Select, func(r IndexRange) bool {
		return r.First <= file && file <= r.Last
	})
}

// IsMagnet reports whether a text is meant to be a magnet link, as web pages hand
// them over: see [ParseMagnet].
func IsMagnet(text string) bool {
	_, ok := magnetQuery(text)
	return ok
}

// magnetQuery is what follows the scheme of a link, freed of what web pages and
// their readers do to one: white space and quotes around it, line breaks within,
// "magnet:///", percent-encoding of the whole, and HTML's "&amp;".
func magnetQuery(text string) (query string, ok bool) {
	text = strings.Trim(text, " \t\r\n\v\f\u00a0\u200b\ufeff\"'<>`")
	const scheme, encoded = "magnet:", "magnet%3a"
	if len(text) >= len(encoded) && strings.EqualFold(text[:len(encoded)], encoded) {
		plain, err := url.PathUnescape(text)
		if err != nil {
			return "", false
		}
		text = plain
	}
	if len(text) < len(scheme) || !strings.EqualFold(text[:len(scheme)], scheme) {
		return "", false
	}
	query = lineBreaks.Replace(text[len(scheme):])
	query, ok = strings.CutPrefix(strings.TrimLeft(query, "/ "), "?")
	return ampersands.Replace(query), ok
}

var (
	lineBreaks = strings.NewReplacer("\r", "", "\n", "", "\t", "")
	ampersands = strings.NewReplacer("&amp;", "&", "&AMP;", "&", "&#38;", "&", "&#038;", "&", "&#x26;", "&", "&#X26;", "&")
)

// ParseMagnet parses a magnet link with a v1 info-hash in hex or base32, a v2
// info-hash as a multihash, or both. Parameters that it does not know, and
// hints that it cannot read, are passed over.
func ParseMagnet(uri string) (*Magnet, error) {
	if len(uri) > maxMagnet {
		return nil, fmt.Errorf("parse magnet: %d bytes: %w: too long", len(uri), ErrMagnet)
	}
	query, ok := magnetQuery(uri)
	if !ok {
		return nil, fmt.Errorf("parse magnet: %.40q: %w: does not begin with magnet:?", uri, ErrMagnet)
	}
	m := &Magnet{}
	seen := map[string]bool{} // parameter and value
	for pair := range strings.SplitSeq(query, "&") {
		key, value, _ := strings.Cut(pair, "=")
		if v, err := url.QueryUnescape(value); err == nil {
			value = v
		}
		key = parameter(strings.ToLower(strings.TrimSpace(key)))
		if key != "dn" {
			value = strings.TrimSpace(value)
		}
		if value == "" || seen[key+"="+value] {
			continue
		}
		seen[key+"="+value] = true
		if err := m.set(key, value); err != nil {
			return nil, fmt.Errorf("parse magnet: %w", err)
		}
	}
	if !m.Hash.HasV1 && !m.Hash.HasV2 {
		return nil, fmt.Errorf("parse magnet: xt: %w: no info-hash (urn:btih or urn:btmh)", ErrMagnet)
	}
	return m, nil
}

// parameter strips the number of a repeated parameter: xt.1, tr.2.
func parameter(key string) string {
	name, number, ok := strings.Cut(key, ".")
	if ok && number != "" && strings.Trim(number, "0123456789") == "" {
		return name
	}
	return key
}

func (m *Magnet) set(key, value string) error {
	switch key {
	case "xt":
		return m.setTopic(value)
	case "dn":
		if m.Name == "" {
			m.Name = value
		}
	case "tr":
		m.Trackers = append(m.Trackers, value)
	case "ws":
		m.WebSeeds = append(m.WebSeeds, value)
	case "xs":
		if lower := strings.ToLower(value); strings.HasPrefix(lower, "http://") || strings.HasPrefix(lower, "https://") {
			m.Sources = append(m.Sources, value)
		}
	case "x.pe":
		m.Peers = append(m.Peers, value)
	case "so":
		sel, err := parseSelect(value)
		if err != nil {
			return fmt.Errorf("so: %w", err)
		}
		if m.Select = append(m.Select, sel...); len(m.Select) > maxSelections {
			return fmt.Errorf("so: %w: more than %d ranges", ErrMagnet, maxSelections)
		}
	}
	return nil
}

// setTopic reads an exact topic. Topics of other networks are passed over.
func (m *Magnet) setTopic(value string) error {
	if len(value) < len(btih) {
		return nil
	}
	digest := value[len(btih):]
	switch strings.ToLower(value[:len(btih)]) {
	case btih:
		h, err := parseSHA1(digest)
		if err != nil {
			return err
		}
		if m.Hash.HasV1 && m.Hash.V1 != h {
			return fmt.Errorf("xt: %w: two different v1 info-hashes", ErrMagnet)
		}
		m.Hash.V1, m.Hash.HasV1 = h, true
	case btmh:
		raw, err := hex.DecodeString(digest)
		if err != nil || len(digest) != len(sha256Tag)+64 || digest[:4] != sha256Tag {
			return fmt.Errorf("xt: %.100q: %w: no SHA-256 multihash (1220 and 64 hex digits)", value, ErrMagnet)
		}
		h := SHA256(raw[2:])
		if m.Hash.HasV2 && m.Hash.V2 != h {
			return fmt.Errorf("xt: %w: two different v2 info-hashes", ErrMagnet)
		}
		m.Hash.V2, m.Hash.HasV2 = h, true
	}
	return nil
}

func parseSHA1(digest string) (SHA1, error) {
	var raw []byte
	var err error
	switch len(digest) {
	case 40:
		raw, err = hex.DecodeString(digest)
	case 32:
		raw, err = base32.StdEncoding.DecodeString(strings.ToUpper(digest))
	}
	if err != nil || len(raw) != len(SHA1{}) {
		return SHA1{}, fmt.Errorf("xt: %.100q: %w: neither 40 hex digits nor 32 of base32", digest, ErrMagnet)
	}
	return SHA1(raw), nil
}

// parseSelect parses "0,2,4,6-8" (BEP 53). Ranges stay ranges: one of two
// billion files costs no more than one of two.
func parseSelect(value string) (out []IndexRange, err error) {
	for part := range strings.SplitSeq(value, ",") {
		if len(out) == maxSelections {
			return nil, fmt.Errorf("%w: more than %d ranges", ErrMagnet, maxSelections)
		}
		a, b, isRange := strings.Cut(part, "-")
		first, err := strconv.ParseUint(a, 10, 31)
		last := first
		if err == nil && isRange {
			last, err = strconv.ParseUint(b, 10, 31)
		}
		if err != nil || last < first || last > math.MaxInt32 {
			return nil, fmt.Errorf("%.40q: %w: no file index or range", part, ErrMagnet)
		}
		out = append(out, IndexRange{int(first), int(last)})
	}
	return out, nil
}

// String returns the link; ParseMagnet gives back an equal Magnet.
func (m *Magnet) String() string {
	var b strings.Builder
	sep := "magnet:?"
	add := func(key, value string) {
		b.WriteString(sep + key + "=" + value)
		sep = "&"
	}
	// Not every client reads "+" as a space.
	escape := func(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
	if m.Hash.HasV1 {
		add("xt", btih+m.Hash.V1.String())
	}
	if m.Hash.HasV2 {
		add("xt", btmh+sha256Tag+m.Hash.V2.String())
	}
	if m.Name != "" {
		add("dn", escape(m.Name))
	}
	for _, t := range m.Trackers {
		add("tr", escape(t))
	}
	for _, w := range m.WebSeeds {
		add("ws", escape(w))
	}
	for _, x := range m.Sources {
		add("xs", escape(x))
	}
	for _, p := range m.Peers {
		add("x.pe", escape(p))
	}
	if len(m.Select) > 0 {
		var sel []string
		for _, r := range m.Select {
			s := strconv.Itoa(r.First)
			if r.Last != r.First {
				s += "-" + strconv.Itoa(r.Last)
			}
			sel = append(sel, s)
		}
		add("so", strings.Join(sel, ","))
	}
	return b.String()
}

// Magnet returns the magnet link of a torrent.
func (m *MetaInfo) Magnet() *Magnet {
	return &Magnet{
		Hash:     m.Info.Hash,
		Name:     m.Info.Name,
		Trackers: slices.Concat(m.Trackers...),
		WebSeeds: slices.Clone(m.WebSeeds),
	}
}
