package webseed

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"torrentfs/net/guard"
)

// checkResponse reports whether the body of an answer begins with just the
// part that was asked for.
func checkResponse(resp *http.Response, p part) error {
	switch code := resp.StatusCode; {
	case code == http.StatusPartialContent && p.ranged:
		if err := checkRange(resp, p); err != nil {
			return err
		}
	case code == http.StatusOK && p.ranged:
		// It is the whole file: good enough if that is what was asked for, or
		// begins with it.
		if p.off != 0 || resp.ContentLength != p.size && !(resp.ContentLength < 0 && p.length == p.size) {
			return &failure{err: fmt.Errorf("%w: status 200 with %d bytes", ErrNoRanges, resp.ContentLength), fatal: true}
		}
	case code == http.StatusOK:
		if resp.ContentLength >= 0 && resp.ContentLength != p.length {
			return fmt.Errorf("%w: %d bytes, not %d", ErrResponse, resp.ContentLength, p.length)
		}
	case code == http.StatusNotFound, code == http.StatusGone, code == http.StatusForbidden,
		code == http.StatusUnauthorized, code == http.StatusRequestedRangeNotSatisfiable:
		if !p.ranged {
			return &failure{err: fmt.Errorf("%w: status %d", ErrMissing, code), fatal: true}
		}
		return fmt.Errorf("%w: status %d", ErrMissing, code)
	case code == http.StatusServiceUnavailable, code == http.StatusTooManyRequests:
		return &failure{err: fmt.Errorf("%w: status %d", ErrResponse, code), retry: retryAfter(resp, !p.ranged)}
	default:
		return fmt.Errorf("%w: status %d", ErrResponse, code)
	}
	if e := resp.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return &failure{err: fmt.Errorf("%w: encoded as %.20q", ErrResponse, e), fatal: true}
	}
	return nil
}

// checkRange holds a status 206 to its word and to ours. A file of another
// size is another file.
func checkRange(resp *http.Response, p part) error {
	from, to, size, ok := parseContentRange(resp.Header.Get("Content-Range"))
	switch {
	case !ok:
		return fmt.Errorf("%w: Content-Range %.60q", ErrResponse, resp.Header.Get("Content-Range"))
	case size >= 0 && size != p.size:
		return fmt.Errorf("%w: file has %d bytes, not %d", ErrMissing, size, p.size)
	case from != p.off || to != p.off+p.length-1:
		return fmt.Errorf("%w: bytes %d to %d, not %d to %d", ErrResponse, from, to, p.off, p.off+p.length-1)
	case resp.ContentLength >= 0 && resp.ContentLength != p.length:
		return fmt.Errorf("%w: %d bytes, not %d", ErrResponse, resp.ContentLength, p.length)
	}
	return nil
}

// parseContentRange reads "bytes 0-499/1234"; size is -1 for "*".
func parseContentRange(h string) (from, to, size int64, ok bool) {
	unit, rest, ok := strings.Cut(strings.TrimSpace(h), " ")
	if !ok || !strings.EqualFold(unit, "bytes") {
		return 0, 0, 0, false
	}
	span, total, ok := strings.Cut(strings.TrimSpace(rest), "/")
	first, last, ok2 := strings.Cut(span, "-")
	if !ok || !ok2 {
		return 0, 0, 0, false
	}
	size = -1
	if total != "*" {
		if size, ok = parseNumber(total); !ok {
			return 0, 0, 0, false
		}
	}
	from, ok = parseNumber(first)
	to, ok2 = parseNumber(last)
	return from, to, size, ok && ok2 && from <= to
}

func parseNumber(s string) (int64, bool) {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 63)
	return int64(n), err == nil
}

// retryAfter is how long the server wants to be left alone: in a header, as
// seconds or a date, or for BEP 17 as seconds in the body.
func retryAfter(resp *http.Response, body bool) time.Duration {
	h := strings.TrimSpace(resp.Header.Get("Retry-After"))
	if h == "" && body {
		b, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
		h = strings.TrimSpace(string(b))
	}
	if s, ok := parseNumber(h); ok {
		return time.Duration(min(s, int64(longestRetry/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(h); err == nil {
		return min(max(time.Until(at), 0), longestRetry)
	}
	return 0
}

// fatalIfForbidden marks failures that another attempt cannot fix.
func fatalIfForbidden(err error) error {
	if errors.Is(err, guard.ErrForbidden) || errors.Is(err, ErrURL) {
		return &failure{err: err, fatal: true}
	}
	return err
}
