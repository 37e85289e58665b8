package announce

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"torrentfs/internal/version"
	"torrentfs/net/guard"
)

const (
	maxBody      = 2 << 20 // bytes of an answer, as sent and as inflated
	maxRedirects = 5
)

// newHTTP builds the client for HTTP trackers. Connections are not kept: a
// tracker is asked twice an hour, and a connection that is never reused is one
// whose address was checked for the very torrent that uses it.
func (c *Client) newHTTP() *http.Client {
	return &http.Client{
		Timeout: httpTimeout,
		Transport: &http.Transport{
			DialContext:            c.dialer.DialContext,
			TLSHandshakeTimeout:    15 * time.Second,
			DisableKeepAlives:      true,
			DisableCompression:     true, // gzip is inflated here, under a cap
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: c.checkRedirect,
	}
}

// checkRedirect bounds the hops and holds each URL to the rules for one that a
// torrent names. A host of this network is only reached from itself, and is told
// no more than it was before: our own parameters, not those of the redirect.
func (c *Client) checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("follow redirect: more than %d hops", maxRedirects)
	}
	t, err := parseTarget(req.URL.String(), c.trusts)
	if err != nil {
		return fmt.Errorf("follow redirect: %w", err)
	}
	if t.url.Scheme == "udp" {
		return fmt.Errorf("follow redirect: %w", ErrURL)
	}
	req.Header.Del("Referer") // would show one tracker the other's passkey
	from := via[len(via)-1].URL
	if !guard.IsLocalName(t.url.Hostname()) || c.trusts(t.url.Hostname()) {
		*req = *req.WithContext(guard.WithLocal(req.Context(), false))
		return nil
	}
	if t.url.Hostname() != from.Hostname() {
		return fmt.Errorf("follow redirect to %s: %w", printable(t.url.Hostname()), ErrForbidden)
	}
	t.url.RawQuery = from.RawQuery
	req.URL = t.url
	return nil
}

// announceHTTP makes one announce (BEP 3).
func (c *Client) announceHTTP(ctx context.Context, t target, r Request) (Response, error) {
	body, status, err := c.get(ctx, t, addQuery(t.url, announceQuery(r)))
	if err != nil {
		return Response{}, err
	}
	resp, err := decodeHTTP(body)
	if _, refused := errors.AsType[*FailureError](err); refused || status == nil {
		return resp, err
	}
	return Response{}, status
}

// scrapeHTTP makes one scrape (BEP 48).
func (c *Client) scrapeHTTP(ctx context.Context, t target, hashes [][20]byte) ([]ScrapeResult, error) {
	u, err := scrapeURL(t.url)
	if err != nil {
		return nil, err
	}
	var q strings.Builder
	for i, h := range hashes {
		if i > 0 {
			q.WriteByte('&')
		}
		q.WriteString("info_hash=")
		writeEscaped(&q, h[:])
	}
	body, status, err := c.get(ctx, t, addQuery(u, q.String()))
	if err != nil {
		return nil, err
	}
	res, err := decodeScrape(body, hashes)
	if _, refused := errors.AsType[*FailureError](err); refused || status == nil {
		return res, err
	}
	return nil, status
}

// get fetches u. Trackers put refusals into bodies of any status, so the body comes with status,
// the error to report if the body explains nothing.
func (c *Client) get(ctx context.Context, t target, u *url.URL) (body []byte, status, err error) {
	ctx = guard.WithLocal(ctx, t.local)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, nil, fmt.Errorf("build request: %w", ErrURL)
	}
	req.Header.Set("User-Agent", version.UserAgent)
	req.Header.Set("Accept-Encoding", "gzip")
	resp, err := c.http.Do(req)
	if err != nil {
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err // its text has the whole URL, passkey included
		}
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err = readBody(resp.Body)
	if err != nil {
		return nil, nil, fmt.Errorf("read answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		status = &FailureError{
			Reason:  printable("HTTP status " + resp.Status),
			RetryIn: retryAfter(resp.Header.Get("Retry-After")),
		}
	}
	return body, status, nil
}

// retryAfter reads the seconds of a Retry-After header, 0 if there are none.
func retryAfter(h string) time.Duration {
	s, err := strconv.ParseUint(h, 10, 31)
	if err != nil {
		return 0
	}
	return time.Duration(s) * time.Second
}

// readBody reads an answer of at most maxBody bytes, inflating it if it is gzip. That is seen by
// its first two bytes, which no bencoded dictionary has: some trackers compress without the header,
// some send the header and do not compress.
func readBody(r io.Reader) ([]byte, error) {
	raw := bufio.NewReader(&cappedReader{r: r, left: maxBody})
	magic, err := raw.Peek(2)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if string(magic) != "\x1f\x8b" {
		return io.ReadAll(raw)
	}
	zr, err := gzip.NewReader(raw)
	if err != nil {
		return nil, fmt.Errorf("inflate: %w: %w", ErrResponse, err)
	}
	zr.Multistream(false)
	body, err := io.ReadAll(&cappedReader{r: zr, left: maxBody})
	if err != nil {
		return nil, fmt.Errorf("inflate: %w", err)
	}
	return body, nil
}

// cappedReader is an io.LimitedReader that ends in ErrTooLarge, not in silence.
type cappedReader struct {
	r    io.Reader
	left int
}

func (c *cappedReader) Read(p []byte) (int, error) {
	if len(p) > c.left+1 {
		p = p[:c.left+1]
	}
	n, err := c.r.Read(p)
	if n > c.left {
		n = c.left
		c.left = 0
		return n, ErrTooLarge
	}
	c.left -= n
	return n, err
}

// announceQuery returns the parameters of an announce. The order is fixed: it
// costs nothing, and some trackers are picky.
func announceQuery(r Request) string {
	var q strings.Builder
	q.WriteString("info_hash=")
	writeEscaped(&q, r.InfoHash[:])
	q.WriteString("&peer_id=")
	writeEscaped(&q, r.PeerID[:])
	fmt.Fprintf(&q, "&port=%d&uploaded=%d&downloaded=%d&left=%d&key=%08X&compact=1&no_peer_id=1",
		r.Port, max(r.Stats.Uploaded, 0), max(r.Stats.Downloaded, 0), max(r.Stats.Left, 0), r.Key)
	if r.NumWant >= 0 {
		fmt.Fprintf(&q, "&numwant=%d", r.NumWant)
	}
	if r.Event != EventNone {
		q.WriteString("&event=" + r.Event.String())
	}
	if r.ID != "" {
		q.WriteString("&trackerid=")
		writeEscaped(&q, []byte(r.ID))
	}
	return q.String()
}

// addQuery returns u with more parameters after those that it has, which are
// kept byte for byte.
func addQuery(u *url.URL, q string) *url.URL {
	v := *u
	v.Fragment, v.RawFragment = "", ""
	if v.RawQuery != "" {
		v.RawQuery += "&"
	}
	v.RawQuery += q
	return &v
}

// writeEscaped percent-encodes all but RFC 3986's unreserved characters.
// url.QueryEscape would make a space a plus, which trackers take for a plus.
func writeEscaped(w *strings.Builder, b []byte) {
	const hex = "0123456789ABCDEF"
	for _, c := range b {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9',
			c == '-', c == '.', c == '_', c == '~':
			w.WriteByte(c)
		default:
			w.WriteByte('%')
			w.WriteByte(hex[c>>4])
			w.WriteByte(hex[c&15])
		}
	}
}

// scrapeURL derives the scrape address: the last element of the path must begin
// with "announce", which becomes "scrape" (BEP 48).
func scrapeURL(u *url.URL) (*url.URL, error) {
	p := u.EscapedPath()
	slash := strings.LastIndexByte(p, '/')
	if slash < 0 || !strings.HasPrefix(p[slash+1:], "announce") {
		return nil, ErrNoScrape
	}
	p = p[:slash+1] + "scrape" + strings.TrimPrefix(p[slash+1:], "announce")
	v := *u
	var err error
	if v.Path, err = url.PathUnescape(p); err != nil {
		return nil, ErrNoScrape
	}
	v.RawPath = p
	return &v, nil
}

// DisplayURL is a tracker's URL as logs may show it: path and query of private
// trackers hold passkeys.
func DisplayURL(raw string) string { return guard.RedactHost(raw) }
